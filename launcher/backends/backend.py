"""How agents get onto nodes, as the coordinator sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..node.config import NodeConfig
from ..node.loop import Loop


class StartedNode(Protocol):
    """A node whose agent was started."""

    keeper: int
    """Its keeper's pid."""

    def fence(self, others: frozenset[int]) -> list[int]:
        """Kill whatever is left of it, but none of the `others`' keepers; gives the pids that would not die."""


class Backend(Protocol):
    """Starts the agents of a run."""

    token: str
    """The run's: by it its processes are found."""
    may_be_apart: bool
    """Whether there may be nodes that do not see the run folder; each then finds out."""
    hidden: tuple[str, ...]
    """Folders that its nodes are not to see, as if they were other machines."""

    def start(
        self, loop: Loop, config: NodeConfig, on_ready: Callable[[dict[str, Any]], None], on_gone: Callable[[], None]
    ) -> StartedNode:
        """Start a node's agent.

        `on_ready` gets its first words, with the socket that it listens on; `on_gone` hears that nothing is left of it.
        """
