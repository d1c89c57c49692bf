"""How agents get onto nodes, as the coordinator sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from regiment.jobs.dataclass import dataclass

from ..node.config import NodeConfig
from ..node.loop import Loop


class AgentChannel(Protocol):
    """A way to a node's agent."""

    def send_line(self, data: bytes, /) -> None:
        """Send a message that is encoded already; never waits."""

    def close(self) -> None:
        """Hang up, without calling back."""


@dataclass(frozen=True)
class Ready:
    """An agent that has been started and listens."""

    pid: int
    keeper_pid: int
    socket: str
    """Its own, on its node."""
    connect: Callable[[Callable[[dict[str, Any]], None], Callable[[], None]], AgentChannel]
    """Connects to it; the two given hear each message, and once that it has hung up. May raise OSError."""


class StartedNode(Protocol):
    """A node whose agent was started."""

    @property
    def keeper(self) -> int | None:
        """Its keeper's pid, if that is on this machine."""

    @property
    def ends_by(self) -> float | None:
        """When all that it runs has ended by itself, on this machine's clock; None where `fence` sees to that."""

    def fence(self, others: frozenset[int]) -> list[int]:
        """Kill whatever is left of it, but none of the `others`' keepers; gives the pids that would not die."""


@dataclass(frozen=True)
class Share:
    """What one node has of its machine."""

    cpus: tuple[int, ...]
    gpus: tuple[str, ...] | None
    """Values for CUDA_VISIBLE_DEVICES; None where the machine has none to share."""
    shares_gpus: bool = False
    """Whether another node has some of them too."""
    python: str | None = None
    """The Python for its processes, where it is not the one of whoever submitted the run."""


class Backend(Protocol):
    """Starts the agents of a run."""

    token: str
    """The run's: by it its processes are found."""
    may_be_apart: bool
    """Whether there may be nodes that do not see the run folder; each then finds out."""
    hidden: tuple[str, ...]
    """Folders that its nodes are not to see, as if they were other machines."""

    def open(self, loop: Loop, note: Callable[[str], None], on_return: Callable[[], None]) -> None:
        """Begin, before the first node is started.

        `note` hears what a person should know, `on_return` that a lost node has come back by itself.
        """

    def share(self, index: int) -> Share:
        """Give what a node has of its machine, as far as that is known by now."""

    def start(
        self,
        loop: Loop,
        config: NodeConfig,
        on_ready: Callable[[Ready], None],
        on_lost: Callable[[str], None],
        on_gone: Callable[[], None],
    ) -> StartedNode:
        """Start a node's agent.

        `on_ready` hears that it listens; `on_lost` that it never will, and why; `on_gone` that nothing is left of it.
        """

    def end(self, exit_status: int, text: str, then: Callable[[], None]) -> None:
        """Tell whoever watches a node that the run has ended, and how; `then` is called once, when they know."""
