"""A notice that the node will be taken away: passed on to each rank once, and only where the rank is ready for it.

A signal that a process neither catches nor ignores would end it, and with it the time that is left to save
something. So a rank gets it as soon as its program has a handler: the program itself, or what a shell runs for it.
What it has started besides (data loaders, say) gets nothing.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from . import messages, processes
from .loop import Loop

_LOOK_INTERVAL = 0.5
"""Seconds between looks whether a program has a handler by now."""
_SAID_AFTER = 10
"""Looks after which it is said that it has none."""
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"})


class Notices:
    """Passes the notices of one attempt on to a node's ranks."""

    def __init__(self, loop: Loop, running: Callable[[], dict[int, int]], say: Callable[[str], None]) -> None:
        """`running` gives the pids of the ranks that run, by rank; `say` tells people something."""
        self._loop = loop
        self._running = running
        self._say = say

    def pass_on(self, number: signal.Signals) -> None:
        """Send each rank the signal, now or as soon as it is ready for it."""
        self._look(number, dict(self._running()), 0)

    def _look(self, number: signal.Signals, waiting: dict[int, int], looks: int) -> None:
        running = self._running()
        still = {rank: pid for rank, pid in waiting.items() if running.get(rank) == pid}
        for rank, pid in tuple(still.items()):
            taker = _taker(pid, number)
            if taker is not None:
                processes.send_signal(taker, number)
                del still[rank]
        if still and looks == _SAID_AFTER:
            ranks = ", ".join(map(str, sorted(still)))
            self._say(f"no handler for {number.name} in rank {ranks}: it would die of it, and gets it once it has one")
        if still:
            self._loop.call_later(_LOOK_INTERVAL, lambda: self._look(number, still, looks + 1))


def _taker(pid: int, number: signal.Signals) -> int | None:
    """Find the process that is ready for a signal: this one, or where it is a shell what that runs."""
    if processes.is_ready_for(pid, number):
        return pid
    if processes.program_name(pid) not in _SHELLS:
        return None
    return next((found for child in processes.children(pid) if (found := _taker(child, number)) is not None), None)


def write_notice(path: str, order: messages.Notify) -> None:
    """Write down for the ranks that there is a notice, and how long they have as far as that is known."""
    now = datetime.now(timezone.utc)
    until = None if order.remaining is None else (now + timedelta(seconds=order.remaining)).isoformat()
    content = {
        "signal": order.signal,
        "source": order.source,
        "noticedUtc": now.isoformat(),
        "remainingSeconds": order.remaining,
        "untilUtc": until,
    }
    new = f"{path}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w", encoding="ascii") as file:
        json.dump(content, file)
    os.replace(new, path)
