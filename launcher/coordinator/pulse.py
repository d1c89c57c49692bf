"""Notices an agent that is connected and does not answer: stopped, wedged, or on a machine that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..node.loop import Loop

INTERVAL = 2.0
"""Seconds between two questions to every agent that owes no answer."""
SILENCE = 6.5
"""Seconds after its last word at which an agent that was asked since is lost: it is found so 8 s after that word."""


class Pulse:
    """Asks every agent for a sign of life, all on the coordinator's own clock."""

    def __init__(
        self,
        loop: Loop,
        ask: Callable[[int], None],
        on_silent: Callable[[int], None],
        interval: float = INTERVAL,
        silence: float = SILENCE,
    ) -> None:
        self._loop = loop
        self._interval = interval
        self._answer = silence - interval
        """Seconds that an agent has for the answer: from the question to when we have last read what had come."""
        self._ask = ask
        self._on_silent = on_silent
        self._heard: dict[int, float] = {}
        self._asked: dict[int, float] = {}
        """When those were asked that have not answered yet."""
        self._beaten_at = time.monotonic()
        loop.call_later(interval, self._beat)

    def heard(self, index: int) -> None:
        """Take down that an agent has said something; the first word of each is what it is watched from."""
        self._heard[index] = time.monotonic()
        self._asked.pop(index, None)

    def forget(self, index: int) -> None:
        """Watch an agent no more: it may go, or is lost."""
        self._heard.pop(index, None)
        self._asked.pop(index, None)

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beaten_at > 2 * self._interval:
            # We were stopped or suspended ourselves, and the agents perhaps with us: they have all their time again.
            self._asked = dict.fromkeys(self._asked, now)
        self._beaten_at = now
        # With thousands of nodes their words may wait to be read for longer than any of them takes for an answer.
        for index in [i for i, asked in self._asked.items() if self._loop.polled_at - asked > self._answer]:
            self.forget(index)
            self._on_silent(index)
        for index in self._heard.keys() - self._asked.keys():
            self._asked[index] = now
            self._ask(index)
        self._loop.call_later(self._interval, self._beat)
