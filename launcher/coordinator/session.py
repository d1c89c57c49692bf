"""The rank that has somebody's terminal: its viewer writes its log, and may still be at it when all has ended."""

from __future__ import annotations

from collections.abc import Callable

from ..node import messages
from ..node.loop import Loop

_LIMIT = 2.0
"""Seconds a viewer may take to write down what the rank printed last."""


class Session:
    """Knows whether all that the rank printed is in its log."""

    def __init__(self, loop: Loop, terminal: messages.Terminal | None) -> None:
        self._loop = loop
        self.rank = None if terminal is None else terminal.rank
        """The rank that has the terminal, if there is one."""
        self._is_complete = False
        self._waiting: Callable[[], None] | None = None

    def log_written(self, message: messages.TerminalLog) -> None:
        """Take down how far the viewer is."""
        self._is_complete = message.complete
        self._go_on()

    def viewer_left(self) -> None:
        """Wait for the viewer no more."""
        self._is_complete = True
        self._go_on()

    def when_complete(self, callback: Callable[[], None]) -> None:
        """Call back once, when the log is complete or takes too long."""
        self._waiting = callback
        self._loop.call_later(_LIMIT, self.viewer_left)
        self._go_on()

    def _go_on(self) -> None:
        if self._is_complete and self._waiting is not None:
            callback, self._waiting = self._waiting, None
            callback()
