"""What kind of cause ended a run (or an attempt of it), from what is known of the process that failed first; pure.

Budgets of restarts go by it: what the user has to change fails again, what the machines did need not.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from regiment.jobs.dataclass import dataclass, field

from .circumstances import Circumstances

if TYPE_CHECKING:
    from .lastwords import LoggedException


class CauseClass(Enum):
    """Who or what has to change before another attempt can end better."""

    USER_ERROR = "user_error"
    """The program, its arguments or its data: an exception, an exit code, a crash of its own."""
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel's out-of-memory killer, a GPU's memory, or a full /dev/shm: it fails again as it is."""
    INFRASTRUCTURE = "infrastructure"
    """A node, a GPU, a disk, the network, or a SIGKILL from somebody else: another attempt may go well."""
    PREEMPTION = "preemption"
    """The scheduler has announced that it takes the nodes away, and the run ended because of that."""
    LAUNCHER = "launcher"
    """Regiment, torchrun or mpirun failed itself; nothing is known against the program."""


@dataclass(frozen=True)
class Evidence:
    """All that is known of what failed first."""

    exit_code: int | None = None
    signal: str | None = None
    exception: LoggedException | None = None
    circumstances: Circumstances = field(default_factory=Circumstances)
    is_process: bool = True
    """Whether a process of the job failed, and not a node or a launcher."""
    is_launchers: bool = False
    """Whether a launcher failed: torchrun, mpirun, or Regiment itself."""
    was_announced: bool = False
    """Whether the scheduler had announced the end (a preemption notice)."""


_GPU_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED|ResourceExhaustedError"
    r"|std::bad_alloc|\bMemoryError|Cannot allocate memory|killed by signal: Killed",
    re.IGNORECASE,
)
"""What CUDA, PyTorch, TensorFlow, C++ and Python say where memory is exhausted."""
_MACHINES = re.compile(
    r"uncorrectable|ECC error|fallen off the bus|unspecified launch failure|CUDA error: unknown error"
    r"|no CUDA-capable device|CUDA_ERROR_(ECC|NO_DEVICE|SYSTEM|HARDWARE|NVLINK)|NVLink|\bXid\b"
    r"|Input/output error|Stale file handle|Read-only file system|Remote I/O error|Transport endpoint"
    r"|No route to host|Network is unreachable|Temporary failure in name resolution"
    r"|nccl(Remote|System)Error|Watchdog caught collective operation timeout",
    re.IGNORECASE,
)
"""What drivers, file systems and networks say when they fail under a program."""
_PEER_GONE = re.compile(
    r"connection (was )?(closed|reset|refused|aborted)|broken pipe|socket (has been )?closed|DistNetworkError",
    re.IGNORECASE,
)
"""What is said of a peer that is gone; whoever says it failed first only where nothing is known of that peer."""


def classify(evidence: Evidence) -> CauseClass:
    """Say what kind of cause this is; the first rule that fits decides."""
    if evidence.was_announced:
        return CauseClass.PREEMPTION
    if is_out_of_memory(evidence):
        return CauseClass.OUT_OF_MEMORY
    if evidence.is_launchers:
        return CauseClass.LAUNCHER
    words = _words(evidence)
    if not evidence.is_process or evidence.signal == "SIGKILL" or _MACHINES.search(words) or _PEER_GONE.search(words):
        return CauseClass.INFRASTRUCTURE
    return CauseClass.USER_ERROR


def is_out_of_memory(evidence: Evidence) -> bool:
    """Say whether memory ran out: that of the machine or its cgroup, of a GPU, or /dev/shm."""
    memory, signal = evidence.circumstances.memory, evidence.signal
    was_killed = memory is not None and memory.oom_kills > 0 and evidence.is_process
    # The kernel may have killed a helper of the process, of which that died; one that crashed did so by itself.
    if was_killed and signal in (None, "SIGKILL"):
        return True
    if signal == "SIGBUS" and evidence.circumstances.shared_memory_full:
        return True
    return _GPU_MEMORY.search(_words(evidence)) is not None


def _words(evidence: Evidence) -> str:
    exception = evidence.exception
    return "" if exception is None else "\n".join(f"{e.type}: {e.message}" for e in (exception, *exception.behind))
