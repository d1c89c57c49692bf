"""What can happen to a run: the events that decisions are made about."""

from __future__ import annotations

from regiment.jobs.dataclass import dataclass

from .state import Cause


@dataclass(frozen=True)
class NodeUp:
    """A node's agent has said hello."""

    node: int
    is_same_place: bool = False
    """Whether it is where an earlier life of the node was that was lost; it has waited there for the end of that."""


@dataclass(frozen=True)
class NodePrepared:
    """A node has the code and is ready to start processes."""

    node: int


@dataclass(frozen=True)
class NodeFailed:
    """A node could not do its part; its agent lives and can still be told to stop."""

    node: int
    reason: str


@dataclass(frozen=True)
class NodeLost:
    """A node's agent is gone, unreachable or silent."""

    node: int
    reason: str


@dataclass(frozen=True)
class ProcessStarted:
    """A process of the job runs."""

    rank: int
    pid: int
    given_rank: int | None = None
    """The rank that an elastic launcher gave it, where that need not be the planned one."""


@dataclass(frozen=True)
class ProcessExited:
    """A process of the job has ended."""

    rank: int
    exit_code: int | None
    signal: str | None
    """Name of the signal that killed it, or None."""
    asked: bool
    """Whether we or its launcher had sent it a signal before."""
    at: float
    """When, on the coordinator's clock as far as that is known."""


@dataclass(frozen=True)
class LauncherExited:
    """A node's torchrun (or its like) has ended."""

    node: int
    exit_code: int | None
    signal: str | None
    is_daemon: bool = False
    """Whether it is only what the launcher of another node ran on this one."""


@dataclass(frozen=True)
class NodeStopped:
    """A node has proved that none of the run's processes is alive there."""

    node: int
    has_new_outputs: bool = False
    """Whether ./outputs holds something there that the attempt found neither so nor longer."""


@dataclass(frozen=True)
class NodeCollected:
    """A node's outputs are in the run folder."""

    node: int


@dataclass(frozen=True)
class NodeGone:
    """A node's agent and keeper have ended, and with them everything they ever started."""

    node: int


@dataclass(frozen=True)
class StopRequested:
    """Somebody wants the run to end."""

    reason: str
    """What the record will say, for example `cancelled by the user`."""
    force: bool = False
    """Kill at once."""
    grace: float | None = None
    """At most this many seconds between SIGTERM and SIGKILL."""
    is_persons: bool = False
    """Whether a person asked for it, and not a signal such as a scheduler's or the end of a terminal."""


@dataclass(frozen=True)
class NodeFenced:
    """What there is to know after a lost node was fenced."""

    node: int
    is_clean: bool
    """Whether nothing of the run is alive there, or will be."""
    ends_by: float | None = None
    """When that is so, where the node cannot be reached and ends by itself what it runs; None for now."""


@dataclass(frozen=True)
class LauncherAsks:
    """A node's elastic launcher wants to start processes."""

    node: int


@dataclass(frozen=True)
class NodeAnswered:
    """A node has answered the question whether it is there."""

    node: int
    question: int


@dataclass(frozen=True)
class AttemptJudged:
    """The logs of an attempt that failed have been read."""

    cause: Cause
    """With the blame where it belongs, and its kind."""


@dataclass(frozen=True)
class AttemptBegun:
    """The folders of a new attempt are there, and all are told."""


@dataclass(frozen=True)
class PreemptionNoticed:
    """Somebody gave notice that the scheduler will take the nodes away."""

    source: str
    """Who got it and how, for example `its viewer got SIGUSR1`."""
    signal: str
    """The signal's name, which the processes get too."""
    grace: float | None = None
    """Seconds that the processes have, where the node is being taken away already; None for a mere notice."""
    node: int | None = None
    """The node that got it, where it is about that node."""


@dataclass(frozen=True)
class RejoinRequested:
    """Somebody wants the lost nodes of an elastic run back."""


@dataclass(frozen=True)
class TimePassed:
    """The time in `state.wake_at` has come."""


Event = (
    NodeUp
    | NodePrepared
    | NodeFailed
    | NodeLost
    | ProcessStarted
    | ProcessExited
    | LauncherExited
    | NodeStopped
    | NodeCollected
    | NodeGone
    | NodeFenced
    | LauncherAsks
    | NodeAnswered
    | AttemptJudged
    | AttemptBegun
    | PreemptionNoticed
    | StopRequested
    | RejoinRequested
    | TimePassed
)
