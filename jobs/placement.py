"""Where a run's nodes are: the ordered list of machines that a plan is made for."""

from __future__ import annotations

from functools import cached_property

from .dataclass import dataclass


@dataclass(frozen=True)
class Interface:
    """One address of a machine."""

    name: str
    """What the machine calls the interface that has it; two machines of one kind may have two names for it."""
    address: str
    prefix: int
    """Leading bits of the address that are its network's."""


@dataclass(frozen=True)
class Node:
    """One machine of a run, real or emulated."""

    index: int
    """The node rank, 0 first."""
    node_id: str
    """What logs and folders call it, for example `node-0`."""
    host: str
    """Host name, for people."""
    address: str
    """IP address that every other node of the run reaches it by."""
    slots: int
    """Processes it runs."""
    cpus: tuple[int, ...]
    """Processors it may use, by their numbers."""
    python: str
    """Path of the Python that starts the job's launcher there; its folder comes first in PATH."""
    gpus: tuple[str, ...] | None = None
    """The values of CUDA_VISIBLE_DEVICES that are its share, or None where the node has no say in them."""
    shares_gpus: bool = False
    """Whether another node, emulated on the same machine, has some of them too."""
    numa: tuple[tuple[int, ...], ...] = ()
    """Its NUMA nodes' processors, where it says."""
    ports: tuple[str, ...] = ()
    """A port for each of its processes, where the framework wants one; placeholders in a plan that is not started."""
    data: str = "{data}"
    """The folder its inputs and outputs lie in; a placeholder in a plan that will not be started."""
    interface: str | None = None
    """The network interface that has the address, where its processes need to be told."""


@dataclass(frozen=True)
class Placement:
    """A run's nodes in rank order, and the port its processes meet on."""

    nodes: tuple[Node, ...]
    master_port: str
    """Port number on node 0, or a placeholder in a plan that will not be started."""
    network: str | None = None
    """The network that all the addresses are in, as 10.0.0.0/16; None where there is none, or it is one machine."""

    @property
    def master_address(self) -> str:
        """Where rank 0 is."""
        return self.nodes[0].address

    @cached_property
    def world_size(self) -> int:
        """Processes of the whole run."""
        return sum(node.slots for node in self.nodes)

    @cached_property
    def host_list(self) -> str:
        """The nodes' addresses with commas between; a long text where there are many nodes, and the same for all."""
        return ",".join(node.address for node in self.nodes)

    @cached_property
    def node_list(self) -> str:
        """The same with semicolons."""
        return ";".join(node.address for node in self.nodes)
