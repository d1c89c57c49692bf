"""The one error tree: every message a user can meet, and the exit status that goes with it.

Only the command line's main catches `RegimentError` and prints it; no traceback reaches a user.
"""

from __future__ import annotations

from enum import IntEnum

from .dataclass import dataclass


class ExitStatus(IntEnum):
    """What `regiment` tells the shell when it ends."""

    COMPLETED = 0
    """Every process that counts ended with exit code 0."""
    JOB_FAILED = 1
    """The user's program failed."""
    USER_ERROR = 2
    """The job file or the arguments are wrong."""
    NODE_ERROR = 3
    """The backend, a node or the coordinator failed."""
    CANCELED = 4
    """Somebody cancelled the run, or its time was up."""
    PREEMPTED = 5
    """The scheduler took the nodes away; run it again."""
    NO_PROGRESS = 6
    """It failed and running it again will not help."""
    INTERNAL_ERROR = 70
    """Our own fault."""


class RegimentError(Exception):
    """A sentence for the user, with the next step in it."""

    exit_status = ExitStatus.INTERNAL_ERROR


class UserError(RegimentError):
    """The arguments, the job file or the workspace are not usable as they are."""

    exit_status = ExitStatus.USER_ERROR


class Unknown(UserError, KeyError):
    """There is nothing of that name; a KeyError too, for what looks like a dict is taken for one."""

    __str__ = RegimentError.__str__


class RunFailed(RegimentError):
    """A run that was waited for has failed or was cancelled; the run's own words are in the message."""

    exit_status = ExitStatus.JOB_FAILED


class NodeError(RegimentError):
    """A node, or the way to it, does not work."""

    exit_status = ExitStatus.NODE_ERROR


class ProtocolError(RegimentError):
    """A peer sent something that is not a message of our protocol."""

    exit_status = ExitStatus.NODE_ERROR


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a job file, printed as `file:line: key: what is wrong; what to do`."""

    file: str
    """The job file as the user named it."""
    line: int | None
    """1-based line, or None where the fault has no place in the file (a flag, the whole file)."""
    key: str
    """Dotted path of the key, for example `distribution.process_count_per_instance`; empty for the whole file."""
    message: str
    """What is wrong; what to do."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class JobFileError(UserError):
    """Every fault of one job file at once."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults
