"""What somebody asks for, and what time alone brings about: limits and the end of patience."""

from __future__ import annotations

from regiment.jobs.dataclass import replace

from ..actions import Action, StopNode
from ..events import NodeLost, StopRequested, TimePassed
from ..state import BEFORE_END, NodeState, Phase, State
from .changes import Decision, alive, in_force, taken_away
from .early import early_time_passed
from .nodes import node_lost
from .restarts import resume
from .stopping import STOP_MARGIN, collect, release, settle, shorten, stop
from .up import move_up


def stop_requested(state: State, event: StopRequested, now: float) -> Decision:
    """End the run as its user wants; a second wish with force kills at once."""
    state = called_off(state, event)
    if state.phase is Phase.STOPPING and state.late_wish is None:
        state = replace(state, late_wish=event.reason)
    if event.force and not state.forced:
        state = replace(state, forced=True)
        if state.phase in (Phase.STOPPING, Phase.COLLECTING):
            return _hurry(state, event, now)
    if state.phase is Phase.BETWEEN:
        return collect(replace(state, canceled=event.reason), now)
    if state.phase is Phase.STOPPING and event.grace is not None:
        return shorten(state, event.grace, now)
    if state.phase not in BEFORE_END:
        return state, ()
    if not event.is_persons:
        state = taken_away(state)
    if state.cause is None and state.canceled is None:
        state = replace(state, canceled=event.reason)
    return stop(state, now, event.grace)


def called_off(state: State, event: StopRequested) -> State:
    """Give the state after a person's wish, the first of which counts for more than what ends the run by itself."""
    if not event.is_persons or state.called_off is not None:
        return state
    state = replace(state, called_off=event.reason)
    return state if state.canceled is None else replace(state, canceled=event.reason, is_preempted=False)


def _hurry(state: State, event: StopRequested, now: float) -> Decision:
    if state.phase is Phase.COLLECTING:
        if state.cause is None and state.canceled is None:
            state = replace(state, canceled=f"{event.reason} while outputs were being collected")
        return release(state, now)
    state = replace(state, kill_at=now, patience_until=now + STOP_MARGIN)
    return state, tuple(StopNode(node, 0.0) for node in alive(state, NodeState.STOPPED))


def time_passed(state: State, event: TimePassed, now: float) -> Decision:
    """Do what is due by now."""
    is_going_on = state.phase in BEFORE_END or state.phase is Phase.BETWEEN
    if is_going_on and state.time_is_up_at is not None and now >= state.time_is_up_at:
        reason = f"time limit of {state.policy.time_limit:g} s reached"
        return stop_requested(state, StopRequested(reason, is_persons=True), now)
    if state.phase in BEFORE_END and state.preemption_ends_at is not None and now >= state.preemption_ends_at:
        return stop(taken_away(state), now)
    if state.phase is Phase.BETWEEN and state.resume_at is not None and now >= state.resume_at:
        return resume(state, now)
    if state.leases and in_force(state, now).leases != state.leases:
        return settle(state, now) if state.phase is Phase.RELEASING else move_up(state, now)
    if state.phase is Phase.RUNNING and (early := early_time_passed(state, now)) is not None:
        return early
    if state.settled_at is not None and state.phase is Phase.RUNNING and now >= state.settled_at:
        return stop(state, now)
    if state.patience_until is None or now < state.patience_until:
        return state, ()
    reason, wanted = _WAITED_FOR[state.phase]
    state = replace(state, patience_until=None)
    actions: tuple[Action, ...] = ()
    for node in alive(state, wanted):
        state, more = node_lost(state, NodeLost(node, reason), now)
        actions += more
    return state, actions


_WAITED_FOR = {
    Phase.STARTING: ("did not come up in time", NodeState.UP),
    Phase.STOPPING: ("could not prove its processes dead in time", NodeState.STOPPED),
    Phase.RELEASING: ("did not end in time", NodeState.GONE),
}
"""For each phase with a time limit of its own: what is said of nodes that miss it, and the state they missed."""
