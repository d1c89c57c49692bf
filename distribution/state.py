"""Everything that is known of a run while it lives, and that decisions are made from."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum, IntEnum

from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus, RunStatus


class Phase(Enum):
    """Where the run is."""

    STARTING = "starting"
    """Agents are being started."""
    PREPARING = "preparing"
    """Nodes copy the code."""
    RUNNING = "running"
    """Processes run."""
    STOPPING = "stopping"
    """Processes are being ended."""
    COLLECTING = "collecting"
    """Processes are gone; outputs are collected."""
    RELEASING = "releasing"
    """Agents are told to go."""
    ENDED = "ended"
    """Nothing of the run is left on any node."""


class NodeState(IntEnum):
    """How far a node has come.

    A node only ever moves forward, but for one that was lost and joins an elastic run again.
    """

    STARTING = 0
    """Its agent is not there yet."""
    UP = 1
    """Its agent is there."""
    PREPARED = 2
    """It has the code."""
    STOPPED = 3
    """None of the run's processes is alive there."""
    COLLECTED = 4
    """What the job wrote there has been brought in."""
    GONE = 5
    """Its agent has ended, and everything it ever started."""
    LOST = 6
    """It ended in another way than we asked it to."""


@dataclass(frozen=True)
class Process:
    """One process of the job, as the coordinator knows it."""

    node: int
    status: ProcessStatus = ProcessStatus.NOT_STARTED
    pid: int | None = None
    given_rank: int | None = None
    """Its rank where an elastic launcher gives the ranks."""
    exit_code: int | None = None
    signal: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    ends_run: bool = True
    """Whether the run is complete only when this process is."""
    is_joining: bool = False
    """Whether it is to join an elastic run that goes on without it, and has not started yet."""


@dataclass(frozen=True)
class Cause:
    """What failed first."""

    message: str
    exit_status: ExitStatus
    at: float
    node: int | None = None
    rank: int | None = None
    is_report: bool = False
    """Whether it is only what a launcher's exit code reports; a process that failed explains it."""


@dataclass(frozen=True)
class Policy:
    """What the job asks of its supervision; all durations in seconds."""

    grace: float = 30.0
    start_limit: float = 60.0
    """How long the nodes may take to come up."""
    time_limit: float | None = None
    """How long the run may take, from its start."""
    launcher_restarts: int = 0
    """How often torchrun may restart its ranks by itself."""
    launcher: str = "the launcher"
    """What starts the processes, where the agents don't: torchrun or mpirun."""
    one_launcher: bool = False
    """Whether node 0's launcher starts the processes of all nodes."""
    min_nodes: int | None = None
    """With how many nodes the run goes on when others are lost; None for one that needs all."""
    world_size: int = 1


@dataclass(frozen=True)
class State:
    """Everything that decisions are made from."""

    policy: Policy
    nodes: tuple[NodeState, ...]
    processes: tuple[Process, ...]
    """By rank."""
    started_at: float
    phase: Phase = Phase.STARTING
    cause: Cause | None = None
    """What failed first, once something has."""
    canceled: str | None = None
    """Why the run was cancelled, where that came before any failure."""
    forced: bool = False
    settled_at: float | None = None
    """After a first failure: when the others are stopped, unless all have ended before."""
    kill_at: float | None = None
    """When the grace ends, while processes are being stopped."""
    patience_until: float | None = None
    """When nodes that have not done what this phase waits for are given up."""

    @property
    def wake_at(self) -> float | None:
        """When `TimePassed` is due, or None for never."""
        times = [self.patience_until]
        if self.phase is Phase.RUNNING:
            times.append(self.settled_at)
        if self.policy.time_limit is not None and self.phase in BEFORE_END:
            times.append(self.started_at + self.policy.time_limit)
        return min((time for time in times if time is not None), default=None)

    @property
    def status(self) -> RunStatus:
        """What the record says of the run."""
        if self.phase is Phase.ENDED:
            return self.verdict
        if self.phase is Phase.STOPPING and self.canceled is not None:
            return RunStatus.CANCEL_REQUESTED
        return _STATUS_OF_PHASE[self.phase]

    @property
    def verdict(self) -> RunStatus:
        """How the run ends; success only if every process has reported exit code 0."""
        if self.canceled is not None:
            return RunStatus.CANCELED
        return RunStatus.COMPLETED if self.cause is None and self.is_complete else RunStatus.FAILED

    @property
    def is_complete(self) -> bool:
        """Say whether every process that counts has reported exit code 0; with an elastic job, on every node left."""
        counting = [p for p in self.processes if p.ends_run and not p.is_joining and not self._is_given_up(p)]
        return bool(counting) and all(p.status is ProcessStatus.COMPLETED for p in counting)

    def _is_given_up(self, process: Process) -> bool:
        return self.policy.min_nodes is not None and self.nodes[process.node] is NodeState.LOST

    @property
    def exit_status(self) -> ExitStatus:
        """What `regiment run` ends with."""
        if self.canceled is not None:
            return ExitStatus.CANCELED
        if self.cause is not None:
            return self.cause.exit_status
        return ExitStatus.COMPLETED if self.verdict is RunStatus.COMPLETED else ExitStatus.NODE_ERROR


BEFORE_END = (Phase.STARTING, Phase.PREPARING, Phase.RUNNING)
_STATUS_OF_PHASE = {
    Phase.STARTING: RunStatus.STARTING,
    Phase.PREPARING: RunStatus.PREPARING,
    Phase.RUNNING: RunStatus.RUNNING,
    Phase.STOPPING: RunStatus.FINALIZING,
    Phase.COLLECTING: RunStatus.FINALIZING,
    Phase.RELEASING: RunStatus.FINALIZING,
}


def first_state(policy: Policy, slots: Iterable[int], now: float, helpers: Collection[int] = ()) -> State:
    """Give the state of a run whose nodes (with that many processes each) are just being started.

    `helpers` are the ranks that the run does not wait for once all others have completed.
    """
    counts = tuple(slots)
    owners = [node for node, count in enumerate(counts) for _ in range(count)]
    processes = tuple(Process(node, ends_run=rank not in helpers) for rank, node in enumerate(owners))
    return State(
        policy=replace(policy, world_size=len(processes)),
        nodes=(NodeState.STARTING,) * len(counts),
        processes=processes,
        started_at=now,
        patience_until=now + policy.start_limit,
    )
