"""How a run's nodes reach its coordinator over a network."""

from __future__ import annotations

from regiment.jobs.dataclass import dataclass


@dataclass(frozen=True)
class Network:
    """What the coordinator needs to let nodes in; the listening socket itself comes beside it."""

    address: str
    """Node 0's, as its peers reach it."""
    key: str
    """The run's, in hexadecimal digits."""
    certificate: str
    """Made for this run alone, as PEM."""
    private_key: str
    start_timeout: float
    """Seconds that all nodes have to come."""
