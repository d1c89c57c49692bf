"""The time that a container has from the signal that says it has to go to the one that nothing survives."""

from __future__ import annotations

LAST_WORDS = 1.0
"""Seconds before its SIGKILL in which a node does what it can for a clean end."""
_AFTER_RANKS = 4.0
"""Seconds from the end of the last process to the end of the run, outputs brought in."""


def rank_grace(stop_grace: float) -> float:
    """Give what the processes have of it; the rest is for what comes after them."""
    return max(0.0, stop_grace - _AFTER_RANKS)
