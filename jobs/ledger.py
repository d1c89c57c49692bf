"""What an attempt's nodes measured of its start: a row for each thing.

What the coordinator sees of a start is in `events.jsonl`. A node adds what only it can see, in seconds of its own clock
since something that both of them know of: nobody has to know how the clocks of two machines differ.
"""

from __future__ import annotations

from enum import Enum

from .dataclass import dataclass

SCHEMA = 1
"""Version of the rows."""


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
