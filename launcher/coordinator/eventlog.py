"""The run's `events.jsonl`: what has happened, in order, on disk before anybody is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial

from regiment.distribution.history import Happening
from regiment.jobs.journal import Journal, read_journal
from regiment.jobs.record import utc_text
from regiment.jobs.workspace import RunFolder

from ..node.channel import encode
from ..node.loop import Loop

_AT_ONCE = 256
"""Events that wait for each other at most."""
_OF_AZURE = {
    **dict.fromkeys(("preparing", "prepared", "running"), "job_prep_azureml.log"),
    **dict.fromkeys(("stopped", "collected", "released", "lost"), "job_release_azureml.log"),
}
"""Which of Azure ML's two logs of a run's own a node's new state goes to."""


class EventLog:
    """Appends events, all of one turn of the loop at once: with thousands of nodes these are many."""

    def __init__(self, loop: Loop, folder: RunFolder, on_error: Callable[[OSError], None], *, is_again: bool) -> None:
        """`is_again` is whether another coordinator of the run has ended before, whose events these follow."""
        self._loop = loop
        self._folder = folder
        self._on_error = on_error
        self.tell: Callable[[bytes], None] = lambda line: None
        """Gets every event, as a line of JSON, after it is on disk."""
        self.lines: list[bytes] = []
        """All events that are on disk."""
        self._unwritten: list[bytes] = []
        # All times of a run are one reading of the wall clock plus monotonic time, so they never run backwards.
        self.started_at = time.monotonic()
        self._wall_offset = time.time() - self.started_at
        self._since = self._read_earlier() if is_again else 0.0
        """Seconds from the first event of the run to its being taken up again by this process."""
        self._journal = Journal(folder.events)
        self._own_logs: dict[str, Journal] = {}
        self._own_lines: dict[str, bytes] = {}
        """What is still to be added to these, with the events that it comes from."""

    def utc(self, at: float) -> str:
        """Give a time of the monotonic clock as UTC text."""
        return utc_text(at + self._wall_offset)

    def add(self, happening: Happening) -> None:
        """Take down an event; it is written, and told, before the loop waits again."""
        now = time.monotonic()
        event = {
            "seq": len(self.lines) + len(self._unwritten),
            "timeUtc": self.utc(now),
            "at": round(self._since + now - self.started_at, 6),
            **happening,
        }
        if happening["event"] == "node":
            self._note_step(happening["nodeId"], happening["state"], now)
        if not self._unwritten:
            self._loop.post(self.flush)
        self._unwritten.append(encode(event))
        if len(self._unwritten) == _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write the events that are not written yet, and tell of them."""
        lines, self._unwritten = self._unwritten, []
        own, self._own_lines = self._own_lines, {}
        self.lines += lines
        writes = [partial(self._journal.append_line, b"".join(lines))] if lines else []
        writes += [partial(self._add_to_own_log, name, text) for name, text in own.items()]
        errors = [error for error in map(error_of, writes) if error is not None]
        # Told before the trouble with writing is: viewers take nothing for new that is older than the last they saw.
        for line in lines:
            self.tell(line)
        for error in errors[:1]:
            self._on_error(error)

    def _read_earlier(self) -> float:
        """Go on where another coordinator of this run has ended, on the clock of the first event."""
        earlier = list(read_journal(self._folder.events))
        self.lines = [encode(event) for event in earlier]
        if not earlier:
            return 0.0
        began = datetime.fromisoformat(str(earlier[0]["timeUtc"]).removesuffix("Z")).replace(tzinfo=timezone.utc)
        return max(float(earlier[-1]["at"]), time.time() - began.timestamp())

    def _note_step(self, node_id: str, state: str, now: float) -> None:
        """Add a node's step to the log of making ready or of releasing, which Azure ML keeps beside its own."""
        name = _OF_AZURE.get(state)
        if name is not None:
            self._own_lines[name] = self._own_lines.get(name, b"") + f"{self.utc(now)} {node_id} {state}\n".encode()

    def _add_to_own_log(self, name: str, text: bytes) -> None:
        if name not in self._own_logs:
            self._own_logs[name] = Journal(self._folder.own_logs / name)
        self._own_logs[name].append_line(text)


def error_of(write: Callable[[], None]) -> OSError | None:
    """Write, and give why that failed if it did."""
    try:
        write()
    except OSError as error:
        return error
    return None
