"""The way down: the processes are ended, then outputs brought in, then agents released, node by node."""

from __future__ import annotations

from regiment.jobs.dataclass import replace

from ..actions import Action, CollectNode, EndRun, FenceNode, JudgeAttempt, ReleaseNode, StopNode
from ..events import NodeCollected, NodeStopped
from ..state import NodeState, Phase, State
from .changes import Decision, alive, any_alive, any_running, awaited_ends, in_force, with_node

STOP_MARGIN = 6.0
"""Seconds after the grace in which a node has to prove its processes dead before it counts as lost."""
RELEASE_LIMIT = 15.0
"""Seconds an agent may take to go after it was released."""


def stop(state: State, now: float, grace: float | None = None) -> Decision:
    """End all processes everywhere."""
    grace = 0.0 if state.forced else min(state.policy.grace, grace if grace is not None else state.policy.grace)
    aborted = [i for i, node in enumerate(state.nodes) if node is NodeState.STARTING]
    state = replace(state, phase=Phase.STOPPING, kill_at=now + grace, patience_until=now + grace + STOP_MARGIN)
    state = replace(state, stopped_at=now, unfenced=state.unfenced.union(aborted))
    nodes = state.nodes.mapped(lambda node: NodeState.LOST if node is NodeState.STARTING else node)
    state = replace(state, nodes=nodes)
    actions: tuple[Action, ...] = tuple(FenceNode(node) for node in aborted)
    actions += tuple(StopNode(node, grace) for node in alive(state, NodeState.STOPPED))
    state, more = settle(state, now)
    return state, actions + more


def shorten(state: State, grace: float, now: float) -> Decision:
    """Give processes that are being stopped less time than they had."""
    if state.kill_at is None or state.kill_at <= now + grace:
        return state, ()
    state = replace(state, kill_at=now + grace, patience_until=now + grace + STOP_MARGIN)
    return state, tuple(StopNode(node, grace) for node in alive(state, NodeState.STOPPED))


def settle(state: State, now: float) -> Decision:
    """Move to the next phase if every node that still lives has done its part of this one."""
    if state.phase is Phase.STOPPING and not any_alive(state, NodeState.STOPPED):
        return _end_attempt(state) if _may_go_on(state) else collect(state, now)
    if state.phase is Phase.COLLECTING and not any_alive(state, NodeState.COLLECTED):
        return release(state, now)
    if state.phase is Phase.RELEASING and not any_alive(state, NodeState.GONE):
        state = in_force(state, now)
        if state.policy.may_requeue and state.leases:
            return awaited_ends(state)  # A scheduler that is asked to begin it again may do so at once.
        return replace(state, phase=Phase.ENDED, patience_until=None), (EndRun(),)
    return state, ()


def _may_go_on(state: State) -> bool:
    """Say whether another attempt may follow, as far as that can be said before the logs have been read."""
    return (
        state.cause is not None
        and state.canceled is None
        and not state.cause.is_lasting
        and (state.attempt > 0 or state.running_since is not None)
        and state.policy.has_restarts
    )


def _end_attempt(state: State) -> Decision:
    return replace(state, phase=Phase.BETWEEN, kill_at=None, patience_until=None), (JudgeAttempt(),)


def collect(state: State, now: float) -> Decision:
    """Have what the job wrote brought in, once nothing of it is alive."""
    nodes = alive(state, NodeState.COLLECTED)
    state = replace(state, phase=Phase.COLLECTING, kill_at=None, patience_until=None, resume_at=None)
    if state.forced or not nodes:
        return release(state, now)
    return state, tuple(CollectNode(node) for node in nodes)


def release(state: State, now: float) -> Decision:
    """Let the agents go."""
    nodes = alive(state, NodeState.GONE)
    state = replace(state, phase=Phase.RELEASING, patience_until=now + RELEASE_LIMIT)
    state, more = settle(state, now)
    return state, tuple(ReleaseNode(node) for node in nodes) + more


def complete(state: State, now: float) -> Decision:
    """Go on to the outputs; what the run does not wait for, and never ends by itself, is stopped before."""
    state = replace(state, cause=None, settled_at=None)
    is_more_there = any_running(state) or state.has_process(lambda kind: kind.is_joining)
    return stop(state, now) if is_more_there else collect(state, now)


def node_stopped(state: State, event: NodeStopped, now: float) -> Decision:
    """Take down that nothing of the run is alive on a node."""
    if state.nodes[event.node] >= NodeState.STOPPED or state.phase is not Phase.STOPPING:
        return state, ()
    state = replace(state, has_new_outputs=state.has_new_outputs or event.has_new_outputs)
    return settle(with_node(state, event.node, NodeState.STOPPED), now)


def node_collected(state: State, event: NodeCollected, now: float) -> Decision:
    """Take down that what the job wrote on a node is there."""
    if state.nodes[event.node] >= NodeState.COLLECTED or state.phase is not Phase.COLLECTING:
        return state, ()
    return settle(with_node(state, event.node, NodeState.COLLECTED), now)
