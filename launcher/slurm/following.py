"""Follows a run through its folder alone, from a machine that shares it: the coordinator is on another one."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from regiment.jobs.errors import ExitStatus, NodeError
from regiment.jobs.record import RunRecord
from regiment.jobs.workspace import RunFolder

from ..liveness import is_over
from ..runs import read_run
from ..view import View

_LOOK = 0.1
"""Seconds between two looks at what is new."""
_CHECK = 5.0
"""Seconds between two looks at whether the run is still there at all, which may ask Slurm."""
_SETTLED = 5.0
"""Seconds that a file may take to be seen here when the run has ended as Slurm says."""


class FolderFollower:
    """One person's look at one run, from its first event to its last."""

    def __init__(
        self,
        folder: RunFolder,
        view: View,
        on_signal: Callable[[signal.Signals], bool],
        read: Callable[[], RunRecord] | None = None,
        check: float = _CHECK,
    ) -> None:
        """`on_signal` is told of Ctrl-C and the like, outside of any handler; True ends the look.

        `read` gives the record as it is true now, and is asked every `check` seconds.
        """
        self._read = read or (lambda: read_run(folder))
        self._check = check
        self._folder = folder
        self._view = view
        self._on_signal = on_signal
        self._events = _NewLines(folder.events)
        self._logs: dict[int, Path] = {}
        self._ended: int | None = None
        self._signals: list[signal.Signals] = []
        self.left: signal.Signals | None = None
        """What made it end before the run did."""

    def run(self) -> int | None:
        """Show the run until it has ended; gives its exit status, or None where the person left.

        Raises:
            NodeError: It ended without a verdict.
        """
        heard: list[tuple[signal.Signals, Any]] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                heard.append((number, signal.signal(number, self._hear)))
        try:
            self._follow()
        finally:
            for number, handler in heard:
                signal.signal(number, handler)
            self._view.close(wait=self.left is None)
        return self._ended

    def _hear(self, number: int, _frame: object) -> None:
        self._signals.append(signal.Signals(number))

    def _follow(self) -> None:
        over_at: float | None = None
        check_at = 0.0
        while not self._view.done and self.left is None:
            self._look()
            while self._signals and self.left is None:
                number = self._signals.pop(0)
                if self._on_signal(number):
                    self.left = number
            now = time.monotonic()
            if self._ended is None and now >= check_at:
                record = self._read()
                over_at = over_at or (now if is_over(record) else None)
                if over_at is not None and now - over_at > _SETTLED:
                    raise lost(record)
                check_at = now + (self._check if over_at is None else _LOOK)
            self._view.tick(time.time())
            if not self._signals:
                time.sleep(_LOOK)

    def _look(self) -> None:
        for event in self._events.read():
            self._take(event)
        for rank, path in self._logs.items():
            try:
                self._view.on_log(rank, path.stat().st_size)
            except OSError:
                continue  # It has printed nothing yet, or its node's disk has not told us.

    def _take(self, event: Mapping[str, Any]) -> None:
        self._view.on_event(event)
        if event.get("event") == "run_started":
            logs = self._folder.attempt(int(event["attempt"]))
            self._logs = {int(row["rank"]): logs / row["log"] for row in event["processes"]}
        if event.get("event") == "run_ended":
            self._ended = int(event["exitStatus"])


class _NewLines:
    """The lines of a file of JSON objects that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """Give what has come since the last time; a line that is not whole yet comes when it is."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [event for event in map(_parsed, whole.splitlines()) if event]


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}  # A full disk has cut it short.
    return found if isinstance(found, dict) else {}


def lost(record: RunRecord) -> NodeError:
    """Make the error about a run that ended without a verdict."""
    said = record.error.message if record.error else f"it is {record.status.value}"
    error = NodeError(f"run {record.run_id}: {said}")
    error.exit_status = ExitStatus(record.exit_status if record.exit_status is not None else ExitStatus.NODE_ERROR)
    return error
