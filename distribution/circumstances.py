"""What a node sees when one of its processes ends, besides how it ended."""

from __future__ import annotations

from regiment.jobs.dataclass import dataclass


@dataclass(frozen=True)
class Memory:
    """What the memory cgroup of a node says when one of its processes has ended."""

    oom_kills: int = 0
    """Processes that the kernel has killed for want of memory since the node's processes were started."""
    limit: int | None = None
    """Bytes, or None where there is no limit but the machine's."""
    peak: int | None = None
    """The most bytes that were in use, where the kernel tells."""


@dataclass(frozen=True)
class Circumstances:
    """What a node saw at the end of one of its processes, besides how it ended."""

    memory: Memory | None = None
    """None where the kernel counts nothing."""
    shared_memory_full: bool = False
    """Whether /dev/shm had no room left."""
    core: str | None = None
    """Where its core file is, or who has taken it; None where none was written."""
