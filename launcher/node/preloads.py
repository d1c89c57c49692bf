"""What a node has imported for its ranks, from attempt to attempt; who forks none has nothing of it to load."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .preloaded import Preloaded


class Preloads:
    """A node's processes that import for the ranks: one at a time, or none."""

    def __init__(self) -> None:
        self.current: Preloaded | None = None

    @property
    def idle(self) -> tuple[int, ...]:
        """The pid of the one that has nothing to do, if there is one: it may stay when an attempt's processes end."""
        current = self.current
        return (current.pid,) if current is not None and current.is_idle else ()

    def end(self) -> None:
        """Kill what is there; the agent reaps it as any other child."""
        if self.current is not None:
            self.current.end()
            self.current = None
