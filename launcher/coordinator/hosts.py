"""The hosts of a run, as its coordinator is told of them."""

from __future__ import annotations

from regiment.jobs.dataclass import dataclass

from ..node.passing import Credentials

START_LIMIT = 60.0
"""Seconds that each host has from its first call until its node is there."""
AT_ONCE = 64
"""Hosts that are called at once: each call is a process, and most of its time it waits."""
_AGENT_LIMIT = 60.0
"""Seconds that the agents of hosts that were reached have to come up."""


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

    @property
    def all_within(self) -> float:
        """Seconds after which every node is there or was given up: a host's own time begins when its turn comes."""
        turns = -(-len(self.names) // AT_ONCE)
        return turns * self.limit + _AGENT_LIMIT
