"""The ledger of an attempt's start: what its nodes measured of it, a row for each thing, appended to one file.

What the coordinator sees of a start is in `events.jsonl`. A node adds what only it can see, in seconds of its own clock
since something that both of them know of: nobody has to know how the clocks of two machines differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from .journal import read_journal
from .plain import PlainError, from_plain

SCHEMA = 1
"""Version of the rows."""


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


class RowKind(Enum):
    """What a row tells, and since when its seconds are counted."""

    INPUTS = "inputs"
    """The inputs were brought; since the node was ordered to make itself ready."""
    PRELOAD = "preload"
    """The modules for `start_method: fork` were imported; since the node was ordered to start its processes."""
    INTERPRETER = "interpreter"
    """Python has come up; since the process was started, as all that follow."""
    IMPORT = "import"
    """The program has imported a module, with all that this imports itself."""
    RENDEZVOUS = "rendezvous"
    """The process meets the others; written when it begins, without an end, and again when it is over."""
    FIRST_STEP = "first step"
    """The first step is over."""
    MARK = "mark"
    """The program has said that it is somewhere (`Run.mark`)."""


@dataclass(frozen=True)
class LedgerRow:
    """One thing that a node measured."""

    node: int
    kind: RowKind
    begin: float
    """Seconds since what its kind says."""
    end: float | None = None
    """None where it is not over, or has no duration."""
    rank: int | None = None
    """None for what is the node's own."""
    pid: int | None = None
    """The process that it was measured in: a rank may start several, one of which trains."""
    text: str = ""
    """The module, the function or the mark."""
    schema: int = SCHEMA


def read_ledger(path: Path) -> Iterator[LedgerRow]:
    """Give the rows of an attempt; those that are damaged, or of a later version, are left out."""
    for entry in read_journal(path):
        try:
            row = from_plain(LedgerRow, entry)
        except PlainError:
            continue
        if row.schema == SCHEMA:
            yield row
