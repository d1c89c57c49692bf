"""A notice that the scheduler will take the nodes away: the processes are told once, and to end then is no failure."""

from __future__ import annotations

from regiment.jobs.dataclass import replace

from ..actions import Action, Say, SignalNode
from ..events import NodeLost, PreemptionNoticed
from ..state import BEFORE_END, NodeState, Phase, State
from .changes import Decision, taken_away, with_node
from .nodes import can_do_without, node_lost
from .stopping import collect, shorten, stop


def preemption_noticed(state: State, event: PreemptionNoticed, now: float) -> Decision:
    """Pass a notice on to all processes, each signal once; a run that has none yet needs not begin.

    Where a node is being taken away already, all of them are stopped; an elastic run goes on without it.
    """
    if event.grace is not None and event.node is not None and _is_dispensable(state, event.node):
        return node_lost(state, NodeLost(event.node, f"is taken away: {event.source}"), now)
    if event.grace is not None and state.phase is Phase.STOPPING:
        return shorten(state, event.grace, now)
    if event.signal in state.noticed or (state.phase not in BEFORE_END and state.phase is not Phase.BETWEEN):
        return state, ()
    is_first = state.preempting is None
    state = replace(state, noticed=(*state.noticed, event.signal))
    if is_first:
        state = replace(state, preempting=event.source, preempted_at=now)
    said: tuple[Action, ...] = (Say(_text(state, event)),) if is_first else ()
    if event.grace is not None and state.phase is Phase.RUNNING:
        state, actions = stop(taken_away(state), now, event.grace)
        return state, said + actions
    if state.phase is Phase.RUNNING:
        return state, (*said, *(SignalNode(node, event.signal) for node in _working(state)))
    # Nothing runs that could save anything, and what would be started now would be lost.
    state, actions = (collect if state.phase is Phase.BETWEEN else stop)(taken_away(state), now)
    return state, said + actions


def _is_dispensable(state: State, node: int) -> bool:
    return can_do_without(with_node(state, node, NodeState.LOST), node)


def _working(state: State) -> tuple[int, ...]:
    return tuple(index for index, node in enumerate(state.nodes) if node is NodeState.PREPARED)


def _text(state: State, event: PreemptionNoticed) -> str:
    if event.grace is not None:
        return f"preempted: {event.source}; its processes are stopped"
    grace = state.policy.preemption_grace
    until = "" if grace is None else f", and are stopped in {grace:g} s"
    return f"preemption notice: {event.source}; its processes are told with {event.signal}{until}"
