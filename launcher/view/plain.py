"""A run as plain lines: the job's on standard output, ours on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from .backlog import Backlog
from .escape import printable
from .follow import Line
from .model import Event, ProcessView, RunView, advance
from .outlet import Outlet
from .talk import countdown_passed, kill_hint, remarks, seconds
from .verdict import closing_lines, verdict_lines
from .words import label

_TURN = 0.05
"""Longest time in seconds that one call spends on printing, so that the caller's loop stays awake."""


def job_line(line: Line, prefix: str | None) -> str:
    """Give a line of a log as it is printed.

    Every printed line begins with the rank's prefix, a further piece of a very long line with `[...]+`.
    Without a prefix, for a run of one process, the pieces are put together again.
    """
    text = printable(line.data)
    if prefix is None:
        return f"{text}\n" if line.ended else text
    return f"[{prefix}]{'+' if line.continued else ''} {text}\n"


class PlainView:
    """The view for pipes, files, dumb terminals and `--quiet`."""

    def __init__(
        self,
        stdout: TextIO,
        stderr: TextIO,
        run_folder: Path,
        *,
        quiet: bool = False,
        interruptible: bool = True,
        chosen: Callable[[ProcessView], bool] | None = None,
        tail: int | None = None,
    ) -> None:
        self._stdout = Outlet(stdout)
        self._stderr = Outlet(stderr)
        self._run_folder = run_folder
        self._quiet = quiet
        self._interruptible = interruptible
        self._backlog = Backlog(run_folder, chosen, tail)
        self._view = RunView()
        self._prefixes: dict[int, str | None] = {}
        self._seconds_left = 0.0
        self.is_restless = True
        """Whether to look again soon: there may be more to print, or a countdown."""
        self.done = False

    def on_event(self, event: Event, *, late: bool = False) -> None:
        """Take one event of the run, in order; `late` says only what is worth knowing afterwards too."""
        before, self._view = self._view, advance(self._view, event)
        if self._view is before:
            return
        self.is_restless = True
        name = event["event"]
        if name == "run_started":
            self._begin()
        elif name == "process_exited":
            self._backlog.look_at(event["rank"])
        elif name == "run_ended":
            self._backlog.look_at_all()
        elif name == "stopping" and self._view.stopping is not None:
            self._seconds_left = self._view.stopping.grace_seconds
        for remark in remarks(before, self._view, event):
            if remark.lasting or not late:
                self._say(remark.text)
        self._print()

    def on_log(self, rank: int, size: int) -> None:
        """Take note that a rank's log has at least this many bytes."""
        self._backlog.grew(rank, size)
        self.is_restless = True
        self._print()

    def tick(self, now: float) -> None:
        """Print what the reader takes, and the countdown of a stop, at Unix time `now`."""
        self._count_down(now)
        self._backlog.look_again()
        self._print()
        is_waiting = self._backlog.is_behind or self._stdout.waiting > 0 or self._stderr.waiting > 0
        self.is_restless = is_waiting or self._view.stopping is not None or self._view.ended is not None

    def close(self, *, wait: bool = True) -> None:
        """Print what is left, however slow the reader is, and end; without `wait`, only what it takes at once."""
        while wait and not self.done and (self._backlog or self._view.ended):
            self._stdout.drain()
            self._print()
        if not self.done:
            self._put(self._backlog.finish())
        self.done = True
        for outlet in (self._stdout, self._stderr):
            if wait:
                outlet.drain()
            else:
                outlet.push()

    def _begin(self) -> None:
        processes = self._view.processes
        single = len(processes) == 1
        self._prefixes = {process.rank: None if single else label(process) for process in processes}
        self._backlog.begin(processes, self._view.attempt)

    def _print(self) -> None:
        """Print waiting lines for a moment; once the run has ended and all are out, the last words."""
        until = time.monotonic() + _TURN
        while self._stdout.push() and self._backlog and time.monotonic() < until:
            if self._stdout.broken:
                self._backlog.drop()
            else:
                self._put(self._backlog.next_lines())
        self._stderr.push()
        if self._view.ended is not None and not self._backlog and not self.done and self._stdout.push():
            self._end()

    def _put(self, lines: Iterable[Line]) -> None:
        self._stdout.put("".join(job_line(line, self._prefixes[line.rank]) for line in lines))

    def _end(self) -> None:
        self._put(self._backlog.finish())
        self._stdout.push()
        ended = self._view.ended
        if ended is not None and ended.error is not None:
            self._say_all(verdict_lines(ended.error))
        if not self._quiet:
            self._say_all(closing_lines(self._view, self._run_folder))
        self.done = True

    def _count_down(self, now: float) -> None:
        stopping = self._view.stopping
        if stopping is None or self._view.zero is None:
            return
        left = stopping.seconds_left(max(now - self._view.zero, self._view.last_at))
        if milestone := countdown_passed(self._seconds_left, left):
            hint = f", {kill_hint(self._view)}" if self._interruptible else ""
            self._say(f"SIGKILL in {seconds(milestone)}{hint}")
        self._seconds_left = left

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._say_all([f"regiment: {text}"])

    def _say_all(self, lines: Iterable[str]) -> None:
        self._stderr.put("".join(f"{line}\n" for line in lines))
        self._stderr.push()
