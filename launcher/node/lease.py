"""How long a node that is cut off from its coordinator runs on: each of the two knows that by its own clock alone.

A node lets itself run on for LEASE seconds from a moment at which it said something, as soon as the coordinator is
known to have heard that: each of its beats says how many of the node's lines have come. So the lease ends no later
than LEASE seconds after the last line that the coordinator has got, however long a beat was under way, for a partition
that heals may bring old ones. OVER seconds after that line nothing of the node is alive, and it need not be asked.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from .loop import Loop

BEAT = 2.0
"""Seconds between two beats of the coordinator's, and the most between two lines of a node's."""
LEASE = 12.0
"""Seconds for which a node runs on. Many: its coordinator may stall for 7 of them, and nothing comes of it."""
SILENCE = 10.0
"""Seconds for which an agent runs on whose relay, which has the lease, passes on no word: it may be stopped."""
LAST_GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL for what a node runs when its lease is over."""
KILLING = 2.0
"""Seconds that the kernel and a busy machine may take for that."""
OVER = LEASE + LAST_GRACE + KILLING
"""Seconds after a node's last line that has come at which all that it ran has ended, whatever has become of it."""
_STAMP_PAUSE = BEAT / 2
"""Seconds in which no more than one of the node's lines is remembered."""
_STOPPED = 2.0
"""Seconds by which a timer is late after which we take ourselves for having been stopped, and look once more."""


class Lease:
    """One node's own, counted in the lines that it sends to its coordinator."""

    def __init__(
        self, loop: Loop, speak: Callable[[], None], on_over: Callable[[], None], seconds: float = LEASE
    ) -> None:
        """Begin; `speak` sends any line, and `on_over` hears once that nothing may run any more."""
        self._loop = loop
        self._seconds = seconds
        self._speak = speak
        self._on_over = on_over
        self._sent = 0
        self._stamps: deque[tuple[int, float]] = deque()
        """Numbers of lines, each with a moment before it was sent."""
        self._stamped_at = self._since = self._due_at = time.monotonic()
        self._timer: int | None = None
        self._wait()

    def sends(self) -> None:
        """Take down that a line is about to be sent."""
        self._sent += 1
        now = time.monotonic()
        if not self._stamps or now - self._stamped_at >= _STAMP_PAUSE:
            self._stamps.append((self._sent, now))
            self._stamped_at = now

    def heard(self, count: int) -> None:
        """Take down that the coordinator has got so many lines."""
        while self._stamps and self._stamps[0][0] <= count:
            self._since = max(self._since, self._stamps.popleft()[1])

    def end(self) -> None:
        """Let nothing depend on it any more."""
        if self._timer is not None:
            self._loop.cancel(self._timer)
            self._timer = None

    def _wait(self) -> None:
        now = time.monotonic()
        self._due_at = max(now, min(self._stamped_at + BEAT, self._since + self._seconds))
        self._timer = self._loop.call_later(self._due_at - now, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._since >= self._seconds and now - self._due_at < _STOPPED:
            self._timer = None
            self._on_over()
            return
        if now - self._stamped_at >= BEAT:
            self._speak()
        if now - self._since >= self._seconds:
            # We were stopped, and have not had the time to hear what there is to hear.
            self._due_at = now + _STOPPED
            self._timer = self._loop.call_later(_STOPPED, self._look)
        else:
            self._wait()
