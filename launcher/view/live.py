"""A run in a terminal: the job's lines scroll by above a panel that shows how the run stands.

All of it is drawn on standard error: the lines stay in the terminal's scrollback, and the panel is replaced by
the last words once the run has ended. The cursor is never hidden, so however the viewer ends, killed even,
there is none to bring back.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment
from rich.text import Text

from .backlog import Backlog
from .escape import printable
from .follow import Line
from .model import Event, RunView, advance
from .outlet import descriptor, writable
from .panel import panel, state_style
from .talk import Remark, remarks
from .verdict import closing_lines, verdict_lines
from .words import label, size

_REFRESH_SECONDS = 0.1
_BATCH = 128 * 1024
"""About the most bytes of logs that one refresh shows."""
_MOST_WAITING = 1024 * 1024
"""Past so many unread bytes of one log, only its end is shown; the file has all of it."""
_KEPT = 16 * 1024
_PREFIX_COLOURS = ("cyan", "magenta", "blue", "yellow", "green", "bright_cyan", "bright_magenta", "bright_blue")
_LEVEL_STYLES = {"info": "bold", "warning": "bold yellow", "error": "bold red"}


class _Terminal(Console):
    """A console whose failures are the caller's, and that leaves the cursor visible."""

    def show_cursor(self, show: bool = True) -> bool:
        return False

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class LiveView:
    """The view for terminals."""

    def __init__(
        self,
        stderr: TextIO,
        run_folder: Path,
        *,
        interruptible: bool = True,
        width: int | None = None,
        height: int | None = None,
    ) -> None:
        self._fd = descriptor(stderr)
        self._console = _Terminal(
            file=stderr, force_terminal=True, highlight=False, markup=False, emoji=False, width=width, height=height
        )
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, transient=False
        )
        self._run_folder = run_folder
        self._interruptible = interruptible
        self._backlog = Backlog(run_folder)
        self._view = RunView()
        self._prefixes: dict[int, tuple[str, str]] = {}
        self._above: list[Text] = []
        self._drawn_at = float("-inf")
        self._drawn_elapsed = 0.0
        self._drawn_widths: tuple[int, ...] = ()
        self._stale = True
        self._zero: float | None = None
        self._gone = False
        self.done = False

    @property
    def is_restless(self) -> bool:
        """Whether to look again soon: always, for its clock goes on."""
        return True

    def on_event(self, event: Event) -> None:
        """Take one event of the run, in order."""
        before, self._view = self._view, advance(self._view, event)
        if self._view is before:
            return
        self._stale = True
        name = event["event"]
        if name == "run_started":
            self._begin()
        elif name == "process_exited":
            self._backlog.look_at(event["rank"])
        for remark in remarks(before, self._view, event):
            if remark.lasting:
                self._above.append(_said(remark))
        if name == "run_ended":
            self._end()

    def on_log(self, rank: int, size: int) -> None:
        """Take note that a rank's log has at least this many bytes."""
        self._backlog.grew(rank, size)

    def tick(self, now: float) -> None:
        """Draw what is new at Unix time `now`, at most ten times a second."""
        if self.done or self._gone or not self._view.run_id or abs(now - self._drawn_at) < _REFRESH_SECONDS:
            return
        self._drawn_at = now
        if not writable(self._fd):  # paused by the person, who may still press Ctrl-C
            return
        self._backlog.look_again()
        self._stale |= bool(self._backlog)  # a progress bar moves without any new line
        self._read()
        elapsed = self._elapsed(now)
        if self._stale or self._above or int(elapsed) != int(self._drawn_elapsed):
            self._draw(elapsed)

    def close(self, *, wait: bool = True) -> None:
        """Leave the panel as it is and give the terminal back."""
        if not self.done and self._view.run_id:
            self._put(self._backlog.finish())
            self._draw(self._drawn_elapsed)
            self._stop()
        self.done = True

    def _begin(self) -> None:
        processes = self._view.processes
        single = len(processes) == 1
        self._prefixes = {
            process.rank: ("" if single else label(process), _PREFIX_COLOURS[process.rank % len(_PREFIX_COLOURS)])
            for process in processes
        }
        self._backlog.begin(processes, self._view.attempt)

    def _elapsed(self, now: float) -> float:
        """Give the coordinator's time; the other machine's clock may be off, but never behind its own events."""
        if self._zero is None or self._view.zero is None:
            self._zero = self._view.zero
        if self._zero is None:
            return self._view.last_at
        self._zero = min(self._zero, now - self._view.last_at)
        return now - self._zero

    def _read(self, most: int = _BATCH) -> None:
        """Take the next lines of the logs, and of a log that has run away only its end."""
        for rank, left_out in self._backlog.skip(_MOST_WAITING, _KEPT):
            process = self._view.process(rank)
            where = printable(process.log) if process else "the log"
            self._above.append(Text(f"[{self._prefixes[rank][0]}] {size(left_out)} not shown here, see {where}", "dim"))
        taken = 0
        while taken < most and (lines := self._backlog.next_lines()):
            taken += sum(len(line.data) + 1 for line in lines)
            self._put(lines)

    def _put(self, lines: Iterable[Line]) -> None:
        self._above.extend(self._text(line.rank, line.data, line.continued) for line in lines)

    def _text(self, rank: int, data: bytes, continued: bool = False) -> Text:
        prefix, colour = self._prefixes[rank]
        text = Text(f"[{prefix}]{'+' if continued else ''} " if prefix else "", colour)
        return Text.assemble(text, printable(data).expandtabs(8))

    def _draw(self, elapsed: float) -> None:
        """Print the new lines above the panel and draw the panel anew."""
        width, height = self._console.size
        bars = [self._text(rank, data) for rank, data in self._backlog.partial_lines()]
        room = max(3, height * 2 // 3)
        drawn = panel(self._view, elapsed, width, min(room, height - 1), bars, interruptible=self._interruptible)
        try:
            self._clear_wrapped(width)
            self._live.update(drawn)
            if self._above:
                self._console.print(Text("\n").join(self._above), soft_wrap=True)  # this draws the panel below, too
            elif self._live.is_started:
                self._live.refresh()
            if not self._live.is_started:
                self._live.start(refresh=True)
        except (OSError, ValueError):  # the terminal hung up or was closed
            self._gone = True
        self._above.clear()
        self._stale = False
        self._drawn_elapsed = elapsed
        self._drawn_widths = self._widths(drawn)

    def _widths(self, drawn: RenderableType) -> tuple[int, ...]:
        lines = self._console.render_lines(drawn, pad=False)
        return tuple(Segment.get_line_length(line) for line in lines)

    def _clear_wrapped(self, width: int) -> None:
        """Clear the rows that the panel's lines grew by when the terminal was made narrower and wrapped them."""
        extra = sum(max(0, -(-drawn // width) - 1) for drawn in self._drawn_widths)
        if extra and self._live.is_started:
            up: tuple[tuple[ControlType, int], ...] = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
            self._console.control(Control(*up * extra))

    def _end(self) -> None:
        """Show the last lines of the logs, the panel as it ended, the verdict and the closing lines."""
        self._backlog.look_at_all()
        while self._backlog and not self._gone:
            self._read()
            self._draw(self._view.last_at)
        self._put(self._backlog.finish())
        self._draw(self._view.last_at)
        self._stop()
        ended = self._view.ended
        if ended is not None and not self._gone:
            error = verdict_lines(ended.error) if ended.error is not None else []
            closing = closing_lines(self._view, self._run_folder)
            blame = [Text(line, "bold red" if index == 0 else "") for index, line in enumerate(error)]
            result = [Text(line, state_style(ended.status) if line.startswith("result") else "") for line in closing]
            self._print(Group(*blame, Text(""), *result))
        self.done = True

    def _print(self, what: RenderableType) -> None:
        try:
            self._console.print(what, soft_wrap=True)
        except (OSError, ValueError):
            self._gone = True

    def _stop(self) -> None:
        try:
            self._live.stop()
        except (OSError, ValueError):
            self._gone = True


def _said(remark: Remark) -> Text:
    return Text(f"regiment: {remark.text}", _LEVEL_STYLES.get(remark.level, ""))
