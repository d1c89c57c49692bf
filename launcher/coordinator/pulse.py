"""Notices an agent that is connected and does not answer: stopped, wedged, or on a machine that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..node.loop import Loop

INTERVAL = 2.0
"""Seconds between two questions to each agent."""
SILENCE = 6.5
"""Seconds after its last word at which an agent that was asked since is lost: it is found so 8 s after that word."""


class Pulse:
    """Asks every agent for a sign of life, all on the coordinator's own clock."""

    def __init__(self, loop: Loop, ask: Callable[[int], None], on_silent: Callable[[int], None]) -> None:
        self._loop = loop
        self._ask = ask
        self._on_silent = on_silent
        self._heard: dict[int, float] = {}
        self._beaten_at = time.monotonic()
        loop.call_later(INTERVAL, self._beat)

    def heard(self, index: int) -> None:
        """Take down that an agent has said something; the first word of each is what it is watched from."""
        self._heard[index] = time.monotonic()

    def forget(self, index: int) -> None:
        """Watch an agent no more: it may go, or is lost."""
        self._heard.pop(index, None)

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beaten_at > 2 * INTERVAL:
            # We were stopped or suspended ourselves; what the agents said meanwhile is still to be read.
            self._heard = dict.fromkeys(self._heard, now)
        self._beaten_at = now
        for index, heard in tuple(self._heard.items()):
            if now - heard > SILENCE:
                self.forget(index)
                self._on_silent(index)
            else:
                self._ask(index)
        self._loop.call_later(INTERVAL, self._beat)
