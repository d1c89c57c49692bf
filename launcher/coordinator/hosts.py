"""The hosts of a run, as its coordinator is told of them."""

from __future__ import annotations

from regiment.jobs.dataclass import dataclass

from ..node.passing import Credentials

START_LIMIT = 60.0
"""Seconds that each host has from its first call until its node is there."""


@dataclass(frozen=True)
class Hosts:
    """One host a node, in the order of their ranks."""

    names: tuple[str, ...]
    """As ssh knows them."""
    python: str
    """The Python on all of them, which runs the job's processes too."""
    limit: float = START_LIMIT
    credentials: Credentials | None = None
    """By what the nodes know each other when they pass the snapshot on; None where they don't."""
