"""Everything that is known of a run while it lives, and that decisions are made from."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable
from enum import Enum, IntEnum
from typing import NamedTuple

from regiment.jobs.dataclass import dataclass, field, replace
from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus, RunStatus
from regiment.jobs.spec import EarlyExit, Restarts

from .causes import CauseClass
from .table import Table


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
    BETWEEN = "between"
    """An attempt is over, nothing of it runs, and the next one is due in a moment."""
    COLLECTING = "collecting"
    """Processes are gone; outputs are collected."""
    RELEASING = "releasing"
    """Agents are told to go."""
    ENDED = "ended"
    """Nothing of the run is left on any node."""


class NodeState(IntEnum):
    """How far a node has come.

    Within an attempt a node only ever moves forward, but for one that was lost and joins an elastic run again.
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
class Lease:
    """A lost node that cannot be reached, and may still run what it ran."""

    node: int
    until: float
    """When that has ended by itself."""
    is_told: bool = False
    """Whether it was said that this is waited for."""


class ProcessKind(NamedTuple):
    """What most decisions look at of a process; there are few kinds, however many processes."""

    status: ProcessStatus
    ends_run: bool
    is_joining: bool


def _kind(process: Process) -> ProcessKind:
    return ProcessKind(process.status, process.ends_run, process.is_joining)


def _node_of(process: Process) -> int:
    return process.node


def _itself(node: NodeState) -> NodeState:
    return node


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
    kind: CauseClass | None = None
    """What kind of cause it is, once that is known."""
    is_lasting: bool = False
    """Whether another attempt would meet the same: a node that cannot do its part."""


@dataclass(frozen=True)
class Restart:
    """A restart that was made, and counts until the processes have run long enough since."""

    is_infrastructure: bool
    at: float
    """How many seconds the run's processes had run by then, all attempts together."""


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
    """What starts the processes, where the agents don't: torchrun, mpirun or srun."""
    one_launcher: bool = False
    """Whether node 0's launcher starts the processes of all nodes."""
    min_nodes: int | None = None
    """With how many nodes the run goes on when others are lost; None for one that needs all."""
    world_size: int = 1
    restarts: Restarts = field(default_factory=Restarts)
    early_exit: EarlyExit = field(default_factory=EarlyExit)
    may_requeue: bool = False
    """Whether a scheduler may be asked to begin the run again, on nodes of its own choice."""
    preemption_grace: float | None = None
    """How long processes may run after a preemption notice; None for as long as they are let."""

    @property
    def has_restarts(self) -> bool:
        """Say whether any failure may be followed by another attempt."""
        return self.restarts.any


@dataclass(frozen=True)
class State:
    """Everything that decisions are made from."""

    policy: Policy
    nodes: Table[NodeState]
    processes: Table[Process]
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
    attempt: int = 0
    running_since: float | None = None
    """Since when this attempt's processes run."""
    stopped_at: float | None = None
    """When they began to be stopped."""
    ran_before: float = 0.0
    """Seconds that the processes of earlier attempts ran."""
    spent: tuple[Restart, ...] = ()
    """The restarts that were made."""
    barren: int = 0
    """Attempts in a row, up to the last one that ended, that made no progress."""
    has_new_outputs: bool = False
    """Whether a node has seen something new in ./outputs in this attempt."""
    resume_at: float | None = None
    """When the next attempt begins, between two."""
    unfenced: frozenset[int] = frozenset()
    """Lost nodes of which it is not known that nothing of the run is alive there."""
    leases: tuple[Lease, ...] = ()
    """Lost nodes of which that is known to come about by itself, and when; nothing is started before."""
    asking: frozenset[int] = frozenset()
    """Nodes whose elastic launchers wait until they may start processes."""
    question: int = 0
    """Number of the last question to all nodes whether they are there."""
    unanswered: frozenset[int] = frozenset()
    """Nodes that have not answered it."""
    late_wish: str | None = None
    """Why somebody wants the run to end whose attempt had failed by then; no other attempt follows."""
    called_off: str | None = None
    """Why a person wants the run to end, however late that was said: it does not go back into a queue then."""
    preempting: str | None = None
    """Who gave the notice that the scheduler will take the nodes away, once somebody has."""
    noticed: tuple[str, ...] = ()
    """The signals by which that was said; each is passed on once."""
    preempted_at: float | None = None
    """When that was."""
    is_preempted: bool = False
    """Whether the run was cancelled because of that notice."""
    early_since: float | None = None
    """When the first of an attempt's processes ended well, while others of those that count run on."""
    early_told: bool = False
    """Whether that was said."""

    @property
    def wake_at(self) -> float | None:
        """When `TimePassed` is due, or None for never."""
        times = [self.patience_until]
        if self.phase is Phase.RUNNING:
            times += [self.settled_at, self.early_warning_at, self.early_failure_at]
        waits = (Phase.PREPARING, Phase.RUNNING, *((Phase.RELEASING,) if self.policy.may_requeue else ()))
        if self.leases and self.phase in waits:
            times.append(min(lease.until for lease in self.leases))
        if self.phase is Phase.BETWEEN:
            times.append(self.resume_at)
        if self.phase in BEFORE_END or self.phase is Phase.BETWEEN:
            times += [self.time_is_up_at, self.preemption_ends_at]
        return min((time for time in times if time is not None), default=None)

    @property
    def time_is_up_at(self) -> float | None:
        """When the run has taken as long as it may; all attempts together."""
        return None if self.policy.time_limit is None else self.started_at + self.policy.time_limit

    @property
    def preemption_ends_at(self) -> float | None:
        """When processes that were told of a preemption are stopped by us."""
        grace = self.policy.preemption_grace
        return None if self.preempted_at is None or grace is None else self.preempted_at + grace

    @property
    def early_warning_at(self) -> float | None:
        """When it is said that some processes have ended and others have not."""
        return None if self.early_since is None or self.early_told else self.early_since + self.policy.early_exit.warn

    @property
    def early_failure_at(self) -> float | None:
        """When the run is failed for it."""
        limit = self.policy.early_exit.fail
        return None if self.early_since is None or limit is None else self.early_since + limit

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
        kinds: Iterable[ProcessKind] = self.processes.counts
        if self.policy.min_nodes is not None and NodeState.LOST in self.nodes.counts:
            kinds = (_kind(p) for p in self.processes if self.nodes[p.node] is not NodeState.LOST)
        return {kind.status for kind in kinds if kind.ends_run and not kind.is_joining} == {ProcessStatus.COMPLETED}

    def ranks_of(self, node: int) -> range:
        """Give the ranks of a node's processes; ranks are node-major."""
        first = bisect_left(self.processes, node, key=_node_of)
        return range(first, bisect_right(self.processes, node, lo=first, key=_node_of))

    def has_process(self, wanted: Callable[[ProcessKind], bool]) -> bool:
        """Say whether there is a process of a kind that is wanted, without looking at each."""
        return any(map(wanted, self.processes.counts))

    @property
    def exit_status(self) -> ExitStatus:
        """What `regiment run` ends with."""
        if self.canceled is not None:
            return ExitStatus.PREEMPTED if self.is_preempted else ExitStatus.CANCELED
        if self.cause is not None:
            return self.cause.exit_status
        return ExitStatus.COMPLETED if self.verdict is RunStatus.COMPLETED else ExitStatus.NODE_ERROR


BEFORE_END = (Phase.STARTING, Phase.PREPARING, Phase.RUNNING)
_STATUS_OF_PHASE = {
    Phase.STARTING: RunStatus.STARTING,
    Phase.PREPARING: RunStatus.PREPARING,
    Phase.RUNNING: RunStatus.RUNNING,
    Phase.STOPPING: RunStatus.FINALIZING,
    Phase.BETWEEN: RunStatus.STARTING,
    Phase.COLLECTING: RunStatus.FINALIZING,
    Phase.RELEASING: RunStatus.FINALIZING,
}


def first_state(policy: Policy, slots: Iterable[int], now: float, helpers: Collection[int] = ()) -> State:
    """Give the state of a run whose nodes (with that many processes each) are just being started.

    `helpers` are the ranks that the run does not wait for once all others have completed.
    """
    counts = tuple(slots)
    owners = [node for node, count in enumerate(counts) for _ in range(count)]
    processes = Table((Process(node, ends_run=rank not in helpers) for rank, node in enumerate(owners)), _kind)
    return State(
        policy=replace(policy, world_size=len(processes)),
        nodes=Table((NodeState.STARTING,) * len(counts), _itself),
        processes=processes,
        started_at=now,
        patience_until=now + policy.start_limit,
    )
