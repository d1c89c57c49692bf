"""What a node measures of its processes' start, and what these tell of it: lines in a pipe of the agent's.

All in seconds of the node's own clock since something that the coordinator has heard of, too.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable

from regiment.jobs.dataclass import dataclass
from regiment.jobs.ledger import LedgerRow, RowKind

from . import messages
from .loop import Loop

_KINDS = {kind.value.replace(" ", "-"): kind for kind in RowKind}
_MOST = 4096
"""Bytes of a line: so many the kernel writes in one piece (PIPE_BUF)."""
_LONGEST_TEXT = 200
_MOST_OF_RANK = 512
"""Lines of a process, and of what it starts, that are passed on."""
_MOST_EARLY = 4096
"""Lines that are kept of sessions which nobody knows yet: a process may be faster than the word of its start."""


@dataclass(frozen=True)
class Mark:
    """One line."""

    session: int
    """The session that the process is in; that of the rank's own process has its pid."""
    pid: int
    kind: RowKind
    begin: float
    end: float | None
    text: str


class Marks:
    """The pipe."""

    def __init__(self, loop: Loop, path: str, on_mark: Callable[[Mark], None]) -> None:
        self._on_mark = on_mark
        self._rest = b""
        os.mkfifo(path, 0o600)
        # Open for writing too, so that it is never at its end.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        loop.on_read(self._pipe, self._read)

    def _read(self) -> None:
        try:
            data = self._rest + os.read(self._pipe, 65536)
        except BlockingIOError:
            return
        *lines, self._rest = data.split(b"\n")
        if len(self._rest) > _MOST:
            self._rest = b""  # Somebody else writes here.
        for line in lines:
            mark = _read_mark(line.decode("utf-8", "replace"))
            if mark is not None:
                self._on_mark(mark)


def _read_mark(line: str) -> Mark | None:
    """Read what `ledger_hook.py` and `Run.mark` write; None for what is none of it."""
    words = line.split(" ", 5)
    try:
        session, pid, kind, begin, end, text = words
        return Mark(
            int(session), int(pid), _KINDS[kind], float(begin), None if end == "-" else float(end), text[:_LONGEST_TEXT]
        )
    except (ValueError, KeyError):
        return None


class Starts:
    """One attempt's on one node."""

    def __init__(self, node: int, tell: Callable[[messages.FromAgent], None]) -> None:
        self._node = node
        self._tell = tell
        self._ordered_at = 0.0
        self._sessions: dict[int, tuple[int, float]] = {}
        """The rank and the time of each session's start."""
        self._ranks: set[int] = set()
        self._early: list[Mark] = []
        self._told: Counter[int] = Counter()

    def ordered(self) -> None:
        """Take down that the processes are to be started."""
        self._ordered_at = time.monotonic()

    def preloaded(self, modules: Iterable[str]) -> None:
        """Tell how long the imports took that all forked ranks share."""
        took = time.monotonic() - self._ordered_at
        self._send(LedgerRow(self._node, RowKind.PRELOAD, 0.0, took, text=", ".join(modules)))

    def started(self, rank: int, pid: int) -> None:
        """Take down that a process is there, whose first start counts: its launcher may start it again."""
        if rank in self._ranks:
            return
        self._ranks.add(rank)
        self._sessions[pid] = rank, time.monotonic()
        early, self._early = self._early, []
        for mark in early:
            self.marked(mark)

    def marked(self, mark: Mark) -> None:
        """Pass on what a process tells."""
        known = self._sessions.get(mark.session)
        if known is None:
            if len(self._early) < _MOST_EARLY:
                self._early.append(mark)
            return
        rank, started_at = known
        self._told[rank] += 1
        if self._told[rank] <= _MOST_OF_RANK:
            # The word of its start may have come a little later than what it did first.
            begin = round(max(0.0, mark.begin - started_at), 6)
            end = None if mark.end is None else round(max(begin, mark.end - started_at), 6)
            self._send(LedgerRow(self._node, mark.kind, begin, end, rank, mark.pid, mark.text))

    def _send(self, row: LedgerRow) -> None:
        self._tell(messages.Measured(row))
