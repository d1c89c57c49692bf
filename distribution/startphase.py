"""The phases of a start."""

from __future__ import annotations

from enum import Enum

from regiment.jobs.dataclass import dataclass


class StartPhase(Enum):
    """Where the time of a start goes, in the order in which it does."""

    QUEUED = "queued"
    """From the making of the run until its coordinator works on it, with the taking of its snapshot; of a restart since
    the attempt before began to be stopped."""
    NODE_READY = "node ready"
    """Until the node's agent has said hello."""
    SNAPSHOT = "snapshot"
    """The node copies the code."""
    INPUTS = "inputs"
    """The node brings the job's inputs."""
    ROLL_CALL = "roll call"
    """The node waits for the others: for their agents, then for them to be prepared."""
    PRELOAD = "preload"
    """With `start_method: fork`, the node imports what its ranks need."""
    SPAWNED = "spawned"
    """From the order to start until the process is there; where a launcher starts it, what that takes is in it."""
    INTERPRETER = "interpreter up"
    """Until Python has come up in the process and is about to run the program."""
    IMPORTS = "imports"
    """Until the program's last import before it meets the others."""
    OWN_CODE = "own code"
    """What the program does between its imports and the rendezvous."""
    RENDEZVOUS = "rendezvous"
    """The process waits for the others: `init_process_group`, `hvd.init`, `MPI_Init`, TensorFlow's servers."""
    FIRST_STEP = "first step"
    """From there to the end of the first step."""


WAITING = frozenset({StartPhase.ROLL_CALL, StartPhase.RENDEZVOUS})
"""Phases that are over for all at once: the slowest one spends the least time in them."""


@dataclass(frozen=True)
class Span:
    """A phase, in seconds since the timeline's beginning."""

    phase: StartPhase
    begin: float
    end: float
    is_over: bool = True
    """Whether it has ended; one that has not lasts until now, or until the attempt's end."""
    text: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin
