"""A small event loop: readable and writable files, timers, signals and calls from other threads.

asyncio would do as well, but importing it takes longer than everything else the agent does before its
first rank runs.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from types import FrameType

Callback = Callable[[], None]
_LONGEST_SLEEP = 24 * 3600.0
"""Seconds; epoll counts milliseconds in 32 bits, so 25 days are too long for it, and a run may last longer."""
_AT_ONCE = 256
"""Files that are served before timers have their turn; those that had none yet come first in the next."""


class Loop:
    """Calls back when something happened; one thread, no callback ever waits."""

    def __init__(self) -> None:
        self._epoll = select.epoll()  # `selectors` does the same in many times the steps.
        self._masks: dict[int, int] = {}
        """What is waited for, by descriptor."""
        self._readers: dict[int, Callback] = {}
        self._writers: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Callback]] = []
        self._cancelled: set[int] = set()
        self._numbers = itertools.count()
        self._posted: deque[Callback] = deque()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._signals: dict[int, Callback] = {}
        self._running = False
        self.polled_at = time.monotonic()
        """When it was last seen which files are ready; what had come by then to any that was, has been read since."""
        self.on_read(self._wake_read, self._drain_wake)

    def on_read(self, fd: int, callback: Callback | None) -> None:
        """Call back while `fd` is readable or at its end; None stops that."""
        self._set(self._readers, fd, callback)

    def on_write(self, fd: int, callback: Callback | None) -> None:
        """Call back while `fd` can be written; None stops that."""
        self._set(self._writers, fd, callback)

    def on_signal(self, number: signal.Signals, callback: Callback) -> None:
        """Call back, from the loop and not from the handler, after a signal."""
        self._signals[number] = callback
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(number, _only_wake)

    def call_later(self, seconds: float, callback: Callback) -> int:
        """Call back once, after that time; the number given back cancels it."""
        number = next(self._numbers)
        heapq.heappush(self._timers, (time.monotonic() + seconds, number, callback))
        return number

    def cancel(self, number: int) -> None:
        """Forget a timer."""
        self._cancelled.add(number)

    def post(self, callback: Callback) -> None:
        """Call back soon; may be called from any thread."""
        self._posted.append(callback)
        self._wake()

    def run(self) -> None:
        """Work until `stop`."""
        self._running = True
        while self._running:
            ready = self._epoll.poll(self._time_to_next_timer(), _AT_ONCE)
            if len(ready) < _AT_ONCE:
                self.polled_at = time.monotonic()
            for fd, mask in ready:
                if mask & ~select.EPOLLOUT:
                    self._readers.get(fd, _nothing)()
                if mask & ~select.EPOLLIN:
                    self._writers.get(fd, _nothing)()
            self._run_timers()
            while self._posted:
                self._posted.popleft()()

    def stop(self) -> None:
        """Let `run` end after the callback that is running."""
        self._running = False
        self._wake()

    def close(self) -> None:
        """Give back the loop's own files."""
        signal.set_wakeup_fd(-1)
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _set(self, table: dict[int, Callback], fd: int, callback: Callback | None) -> None:
        if callback is None:
            table.pop(fd, None)
        else:
            table[fd] = callback
        mask = (select.EPOLLIN if fd in self._readers else 0) | (select.EPOLLOUT if fd in self._writers else 0)
        known = self._masks.get(fd, 0)
        if mask == known:
            return
        if mask:
            self._masks[fd] = mask
            (self._epoll.modify if known else self._epoll.register)(fd, mask)
            return
        del self._masks[fd]
        try:
            self._epoll.unregister(fd)
        except OSError:
            pass  # It is closed already, and so not waited for any more.

    def _time_to_next_timer(self) -> float | None:
        if self._posted:
            return 0.0
        while self._timers and self._timers[0][1] in self._cancelled:
            self._cancelled.discard(heapq.heappop(self._timers)[1])
        if not self._timers:
            return None
        return min(max(0.0, self._timers[0][0] - time.monotonic()), _LONGEST_SLEEP)

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, number, callback = heapq.heappop(self._timers)
            if number in self._cancelled:
                self._cancelled.discard(number)
            else:
                callback()

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass  # The pipe is full, so the loop is about to wake anyway.

    def _drain_wake(self) -> None:
        numbers = os.read(self._wake_read, 4096)
        for number in dict.fromkeys(numbers):
            self._signals.get(number, _nothing)()


def _nothing() -> None:
    """Stand in for a callback that another callback of the same round took away."""


def _only_wake(number: int, frame: FrameType | None) -> None:
    """Leave all work to the loop: the interpreter has written the number to the wake-up pipe already."""
