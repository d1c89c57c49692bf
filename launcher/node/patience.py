"""Gives up a coordinator that is connected and says nothing more: stopped, wedged, or cut off without a word."""

from __future__ import annotations

from collections.abc import Callable

from .loop import Loop

INTERVAL = 2.0
"""Seconds between two looks."""


class Patience:
    """Counts looks and not time: while this process itself is stopped or suspended, none of it runs out."""

    def __init__(self, loop: Loop, on_silence: Callable[[], None], seconds: float) -> None:
        """Look for that long, while nothing comes, before it is given up."""
        self._loop = loop
        self._on_silence = on_silence
        self._most = round(seconds / INTERVAL)
        self._missed = 0
        self._timer: int | None = None

    def begin(self) -> None:
        """Watch a coordinator that has just connected."""
        self.end()
        self._missed = 0
        self._timer = self._loop.call_later(INTERVAL, self._look)

    def heard(self) -> None:
        """Take down that it said something."""
        self._missed = 0

    def end(self) -> None:
        """Watch it no more."""
        if self._timer is not None:
            self._loop.cancel(self._timer)
            self._timer = None

    def _look(self) -> None:
        self._missed += 1
        if self._missed > self._most:
            self._timer = None
            self._on_silence()
        else:
            self._timer = self._loop.call_later(INTERVAL, self._look)
