"""Ranks that somebody has stopped (SIGSTOP, a debugger's prompt): the others wait for them, and nobody sees why.

A look at /proc every two seconds costs next to nothing, and works whoever the rank's parent is.
"""

from __future__ import annotations

from collections.abc import Callable

from . import processes
from .loop import Loop

_INTERVAL = 2.0
"""Seconds between two looks."""


class StoppedRanks:
    """Says when a rank has been stopped, and when it goes on."""

    def __init__(self, loop: Loop, running: Callable[[], dict[int, int]], say: Callable[[str], None]) -> None:
        """`running` gives the pids of the ranks that run, by rank; `say` tells people something."""
        self._loop = loop
        self._running = running
        self._say = say
        self._stopped: dict[int, int] = {}
        self._is_watching = False

    def watch(self) -> None:
        """Look now and then, for as long as any rank runs."""
        if not self._is_watching:
            self._is_watching = True
            self._loop.call_later(_INTERVAL, self._look)

    def _look(self) -> None:
        self._is_watching = False
        running = self._running()
        if not running:
            return
        stopped = {rank: pid for rank, pid in running.items() if processes.is_stopped(pid)}
        for rank, pid in stopped.items():
            if self._stopped.get(rank) != pid:
                self._say(f"rank {rank} is stopped (SIGSTOP?); 'kill -CONT {pid}' there lets it go on")
        for rank, pid in self._stopped.items():
            if running.get(rank) == pid and rank not in stopped:
                self._say(f"rank {rank} goes on, which was stopped (pid {pid})")
        self._stopped = stopped
        self.watch()
