"""The ends of nodes: which the run cannot do without, and what it does then."""

from __future__ import annotations

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus

from ..actions import FenceNode
from ..events import NodeFailed, NodeGone, NodeLost
from ..state import BEFORE_END, Cause, NodeState, Phase, Process, State
from .changes import Decision, taken_away, with_node, with_process
from .fencing import node_ended
from .stopping import collect, complete, settle, stop


def node_failed(state: State, event: NodeFailed, now: float) -> Decision:
    """End the run for a node that could not do its part."""
    state = _blame_node(state, event.node, event.reason, now, is_lasting=True)
    if state.phase is Phase.BETWEEN:
        return collect(state, now)
    return stop(state, now) if state.phase in BEFORE_END else (state, ())


def node_lost(state: State, event: NodeLost, now: float) -> Decision:
    """Fence a lost node, and go on without it or end the run."""
    if state.nodes[event.node] in (NodeState.GONE, NodeState.LOST):
        return state, ()
    state = with_node(state, event.node, NodeState.LOST)
    for rank in state.ranks_of(event.node):
        state = with_process(state, rank, _lost(state.processes[rank], now))
    state = replace(
        state,
        unfenced=state.unfenced | {event.node},
        asking=state.asking - {event.node},
        unanswered=state.unanswered - {event.node},
    )
    fence = (FenceNode(event.node),)
    if state.phase is Phase.BETWEEN:
        return state, fence
    if can_do_without(state, event.node):
        state, actions = _go_on_without(state, now)
        return state, fence + actions
    state = _blame_node(state, event.node, event.reason, now)
    state, actions = stop(state, now) if state.phase in BEFORE_END else settle(state, now)
    return state, fence + actions


def can_do_without(state: State, node: int) -> bool:
    """Say whether an elastic run goes on; its processes meet in a store on node 0, so never without that one."""
    fewest, present = state.policy.min_nodes, len(state.nodes) - state.nodes.counts.get(NodeState.LOST, 0)
    return state.phase in BEFORE_END and fewest is not None and node != 0 and present >= fewest


def _go_on_without(state: State, now: float) -> Decision:
    """Complete what is complete by now; all else waits for what comes of fencing the node (`fencing.py`)."""
    return complete(state, now) if state.phase is Phase.RUNNING and state.is_complete else (state, ())


def _lost(process: Process, now: float) -> Process:
    if process.status is not ProcessStatus.RUNNING:
        return process
    return replace(process, status=ProcessStatus.LOST, ended_at=now)


def _blame_node(state: State, node: int, reason: str, now: float, *, is_lasting: bool = False) -> State:
    # Once the outputs are in (or the run was ended for another reason) a node's end changes nothing.
    if state.phase is not Phase.RELEASING:
        state = taken_away(state)
    if state.cause is not None or state.canceled is not None or state.phase is Phase.RELEASING:
        return state
    return replace(state, cause=Cause(f"node-{node} {reason}", ExitStatus.NODE_ERROR, now, node, is_lasting=is_lasting))


def node_gone(state: State, event: NodeGone, now: float) -> Decision:
    """Take down that a node is clean; one that nobody released was lost."""
    if state.phase is not Phase.RELEASING and state.nodes[event.node] is not NodeState.LOST:
        return node_lost(state, NodeLost(event.node, "ended before its work was done"), now)
    if state.nodes[event.node] is NodeState.LOST:
        return node_ended(state, event.node, now)
    return settle(with_node(state, event.node, NodeState.GONE), now)
