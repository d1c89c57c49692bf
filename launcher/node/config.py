"""What a keeper and its agent are told when they are started."""

from __future__ import annotations

from collections.abc import Mapping

from regiment.jobs.dataclass import dataclass


@dataclass(frozen=True)
class Sharing:
    """How a node finds out whether it sees the run folder."""

    run_folder: str
    """Where the coordinator has it."""
    scratch: str
    """Where the coordinator has what is gone when the run has ended."""
    token: str
    """What is written in a file there, and is this run's name on nodes that don't see it."""
    life: int = 0
    """How often the node was lost before."""
    hidden: tuple[str, ...] = ()
    """Folders that an emulated node is not to see, as if it were another machine."""


@dataclass(frozen=True)
class NodeConfig:
    """One node of one run, from its own point of view."""

    node: int
    """The node rank."""
    node_id: str
    tag: str
    """What every process of the run on this node carries in its environment."""
    socket: str
    """Path of the Unix socket the agent listens on."""
    address: str
    """The node's own address, as its peers reach it."""
    cpus: tuple[int, ...]
    """The processors it may use; empty for all."""
    lease: float
    """Seconds a coordinator that is gone has to come back in."""
    zip: str
    """The packed agent."""
    python: str
    """The Python that runs keeper, agent and wrappers."""
    outputs: str
    """Where the node brings what the job wrote to ./outputs."""
    logs: str
    """Where it brings what the job wrote to ./logs."""
    live_logs: str
    """Where that is to be seen while the job runs."""
    metrics: str
    """Where its processes write what they log, one file each."""
    fetched: str
    """Where downloads lie, once for all the run's nodes of this machine."""
    environ: Mapping[str, str] | None = None
    """What the job's processes inherit, where the agent was started by somebody else; None for its own."""
    warm_modules: tuple[str, ...] | None = None
    """What a warm pool of the node's may have imported for its processes; None where none can be used."""
    views: bool = False
    """Whether the job has inputs that it must not be able to write."""
    sharing: Sharing | None = None
    """None where it is certain that the node sees the run folder."""
    silence: float = 60.0
    """Seconds after which a coordinator that is connected and says nothing is given up. Many: it may wait for a slow
    disk, and its run is to survive."""
    last_grace: float = 2.0
    """Seconds from SIGTERM to SIGKILL for what the node runs when nobody comes back for it."""
    asks: bool = False
    """Whether what an elastic launcher starts waits until the coordinator knows that no other node is cut off."""
    root: str = ""
    """The folder that it works in where it doesn't, as the node itself has found out."""
