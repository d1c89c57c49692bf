"""Agents that do not answer, and a coordinator that has not read yet what they have said."""

from __future__ import annotations

import os
import time

from regiment.launcher.coordinator.pulse import Pulse
from regiment.launcher.node.loop import Loop

from ..conftest import GUARD

INTERVAL, SILENCE = 0.02, 0.1
MANY = 300
"""More files than the loop serves at once."""


def watched(loop: Loop, silent: list[int]) -> list[int]:
    """Watch agent 7, which has said something once; gives when it is asked, and `silent` gets it when it is lost."""
    asked: list[int] = []
    Pulse(loop, asked.append, silent.append, INTERVAL, SILENCE).heard(7)
    return asked


def until_lost(loop: Loop, silent: list[int]) -> None:
    """Let it run until the agent is lost: where this process itself is kept from running, that is put off."""
    ends_at = time.monotonic() + GUARD

    def look() -> None:
        assert time.monotonic() < ends_at
        loop.call_later(INTERVAL, loop.stop if silent else look)

    look()
    loop.run()


def test_an_agent_that_was_asked_and_says_nothing_is_lost_once() -> None:
    loop = Loop()
    silent: list[int] = []
    asked = watched(loop, silent)
    until_lost(loop, silent)
    loop.call_later(3 * SILENCE, loop.stop)
    loop.run()
    loop.close()
    assert (asked, silent) == ([7], [7])


def test_nobody_is_lost_while_more_lies_unread_than_can_be_read_at_once() -> None:
    loop = Loop()
    silent: list[int] = []
    files = [os.eventfd(1) for _ in range(MANY)]
    for file in files:
        loop.on_read(file, lambda: None)  # It is never read, and so it never ends.
    asked = watched(loop, silent)
    loop.call_later(5 * SILENCE, loop.stop)
    loop.run()
    assert (asked, silent) == ([7], [])
    for file in files:
        loop.on_read(file, None)
        os.close(file)
    until_lost(loop, silent)
    loop.close()
    assert silent == [7]
