"""The way up: agents come, nodes are prepared, processes start."""

from __future__ import annotations

from regiment.jobs.dataclass import replace
from regiment.jobs.record import ProcessStatus

from ..actions import LaunchNode, LetStart, PrepareNode, StartNodeProcesses, StartProcesses
from ..events import NodePrepared, NodeUp, ProcessStarted, RejoinRequested
from ..state import NodeState, Phase, Process, State
from .changes import Decision, awaited_ends, forget_lease, in_force, with_node, with_process
from .early import watched


def node_up(state: State, event: NodeUp, now: float) -> Decision:
    """Go on once all nodes are there; one that joins late is prepared alone."""
    if state.nodes[event.node] is not NodeState.STARTING:
        return state, ()
    state = with_node(state, event.node, NodeState.UP)
    if event.is_same_place:
        state = forget_lease(state, event.node)
    if state.phase is Phase.RUNNING:
        state, actions = move_up(state, now)
        return state, (PrepareNode(event.node), *actions)
    return move_up(state, now)


def node_prepared(state: State, event: NodePrepared, now: float) -> Decision:
    """Start the processes once all nodes are ready; those of one that joins late alone."""
    if state.nodes[event.node] is not NodeState.UP:
        return state, ()
    if state.phase is Phase.RUNNING:
        return with_node(state, event.node, NodeState.PREPARED), (StartNodeProcesses(event.node),)
    if state.phase is not Phase.PREPARING:
        return state, ()
    return move_up(with_node(state, event.node, NodeState.PREPARED), now)


def move_up(state: State, now: float) -> Decision:
    """Move on if all nodes (of an elastic run: all that were not lost) have come as far as this phase wants them.

    Nothing is started while a lost node may still run what it ran (`fencing.py`).
    """
    state = in_force(state, now)
    if state.phase is Phase.RUNNING:
        return _let_start(state)
    present = state.nodes.counts.keys() - {NodeState.LOST}
    if state.phase is Phase.STARTING and present <= {NodeState.UP}:
        state = replace(state, phase=Phase.PREPARING, patience_until=None)
        return state, tuple(PrepareNode(i) for i, node in enumerate(state.nodes) if node is NodeState.UP)
    if state.phase is Phase.PREPARING and present <= {NodeState.PREPARED}:
        if state.leases:
            return awaited_ends(state)
        return replace(state, phase=Phase.RUNNING, running_since=now), (StartProcesses(),)
    return state, ()


def _let_start(state: State) -> Decision:
    """Let elastic launchers start what they have asked to, once nothing has to be waited for."""
    if state.leases or state.unfenced or state.unanswered:
        return awaited_ends(state)
    return replace(state, asking=frozenset()), tuple(LetStart(node) for node in sorted(state.asking))


def rejoin_requested(state: State, event: RejoinRequested, now: float) -> Decision:
    """Bring lost nodes back; a run that needs all its nodes has ended when one is lost."""
    if state.policy.min_nodes is None or state.phase is not Phase.RUNNING:
        return state, ()
    lost = [i for i, node in enumerate(state.nodes) if node is NodeState.LOST]
    back = state.nodes.mapped(lambda node: NodeState.STARTING if node is NodeState.LOST else node)
    fresh = state.processes.mapped(
        lambda p: Process(p.node, is_joining=True) if state.nodes[p.node] is NodeState.LOST else p
    )
    return replace(state, nodes=back, processes=fresh), tuple(LaunchNode(node) for node in lost)


def process_started(state: State, event: ProcessStarted, now: float) -> Decision:
    """Take down that a process runs, for the first time or because its launcher has restarted it."""
    process = state.processes[event.rank]
    may_start = process.status is ProcessStatus.NOT_STARTED or (
        process.status.has_ended and state.policy.launcher_restarts > 0 and state.phase is Phase.RUNNING
    )
    if not may_start:
        return state, ()
    fresh = Process(
        process.node,
        ProcessStatus.RUNNING,
        event.pid,
        given_rank=event.given_rank,
        started_at=now,
        ends_run=process.ends_run,
    )
    # torchrun's own restart: what failed in its last round is no longer what decides.
    cause = None if process.status.has_ended else state.cause
    state = with_process(state, event.rank, fresh)
    state = state if cause is state.cause else replace(state, cause=cause)
    # One on another node may have ended well before the first word of this one came.
    return watched(state, now) if state.phase is Phase.RUNNING else state, ()
