"""Restarts: whether an attempt that failed is followed by another one, when, and how that begins.

An attempt begins only when every node has proved that nothing of the one before is alive on it: its agent, or
the fence around a lost node; where that cannot be reached, its processes start no sooner than it has ended by itself
(`fencing.py`). Budgets are counted in the time that the processes have run: so many restarts in
each hour of it, and not in a life, for a job that trains for a month.
"""

from __future__ import annotations

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus

from ..actions import Action, BeginAttempt, EndAttempt, LaunchNode, Say
from ..causes import CauseClass
from ..events import AttemptBegun, AttemptJudged
from ..state import NodeState, Phase, Process, Restart, State
from .changes import Decision
from .stopping import collect
from .up import move_up

MOST_BARREN = 3
"""Attempts in a row without progress after which there is no other, whatever is left of the budget."""
_OF_INFRASTRUCTURE = frozenset({CauseClass.INFRASTRUCTURE, CauseClass.LAUNCHER})


def attempt_judged(state: State, event: AttemptJudged, now: float) -> Decision:
    """Begin the pause before the next attempt, or go on to the outputs: then the run has failed."""
    if state.phase is not Phase.BETWEEN or state.resume_at is not None:
        return state, ()
    state = replace(state, cause=event.cause)
    if state.late_wish is not None and _left(state) > 0:
        return collect(replace(state, canceled=state.late_wish), now)
    barren = 0 if _has_progressed(state) else state.barren + 1
    state = replace(state, barren=barren)
    if _budget(state) > 0 and barren >= MOST_BARREN:
        return collect(_without_progress(state), now)
    left = _left(state)
    if left <= 0:
        state, actions = collect(state, now)
        return state, _no_restart_is_left(state) + actions
    pause = _pause(state)
    if state.time_is_up_at is not None and now + pause >= state.time_is_up_at:
        state, actions = collect(state, now)
        return state, (Say("no restart: the run's time would be up before"), *actions)
    restart = Restart(_is_infrastructure(state), _ran(state))
    return replace(state, resume_at=now + pause, spent=(*state.spent, restart)), (EndAttempt(pause, left - 1),)


def _has_progressed(state: State) -> bool:
    return state.has_new_outputs or _ran(state) - state.ran_before >= state.policy.restarts.progress


def _ran(state: State) -> float:
    """Give how many seconds the run's processes have run, but not the time it took to stop them."""
    if state.running_since is None or state.stopped_at is None:
        return state.ran_before
    return state.ran_before + state.stopped_at - state.running_since


def _is_infrastructure(state: State) -> bool:
    # A launcher that ends with an exit code, and no process to blame, was most likely called wrongly.
    return state.cause is not None and state.cause.kind in _OF_INFRASTRUCTURE and not state.cause.is_report


def _budget(state: State) -> int:
    """Give how many restarts there may be for such a cause."""
    if state.cause is None or state.cause.is_lasting:
        return 0
    restarts = state.policy.restarts
    if _is_infrastructure(state) and restarts.infrastructure is not None:
        return restarts.infrastructure
    return restarts.max


def _counting(state: State) -> tuple[Restart, ...]:
    """Give the restarts that still count."""
    since = _ran(state) - state.policy.restarts.refill
    return tuple(restart for restart in state.spent if restart.at > since)


def _left(state: State) -> int:
    own = _is_infrastructure(state)
    return _budget(state) - sum(restart.is_infrastructure is own for restart in _counting(state))


def _pause(state: State) -> float:
    restarts = state.policy.restarts
    # Doubled without end it would be too large for a number.
    doublings = min(len(_counting(state)), 64)
    return float(min(restarts.backoff * 2**doublings, max(restarts.max_backoff, restarts.backoff)))


def _without_progress(state: State) -> State:
    assert state.cause is not None
    limit = state.policy.restarts.progress
    message = (
        f"{state.cause.message}; none of the last {MOST_BARREN} attempts ran for {limit:g} s "
        "or wrote anything new to ./outputs, so there is no other"
    )
    return replace(state, cause=replace(state.cause, message=message, exit_status=ExitStatus.NO_PROGRESS))


def _no_restart_is_left(state: State) -> tuple[Action, ...]:
    if not state.spent:
        return ()
    refill = state.policy.restarts.refill
    text = f"no restart is left for such a failure: {_budget(state)} within {refill:g} s of running is the limit"
    return (Say(text),)


def resume(state: State, now: float) -> Decision:
    """Begin the next attempt, once the pause is over."""
    if state.unfenced:
        # What a lost node still runs would be there twice.
        state, actions = collect(state, now)
        return state, (Say(f"no restart: node-{min(state.unfenced)} may still run processes of the run"), *actions)
    lost = tuple(i for i, node in enumerate(state.nodes) if node is NodeState.LOST)
    state = replace(
        state,
        phase=Phase.STARTING,
        attempt=state.attempt + 1,
        nodes=state.nodes.mapped(lambda node: NodeState.STARTING if node is NodeState.LOST else node),
        processes=state.processes.mapped(lambda process: Process(process.node, ends_run=process.ends_run)),
        cause=None,
        settled_at=None,
        patience_until=now + state.policy.start_limit,
        ran_before=_ran(state),
        running_since=None,
        stopped_at=None,
        has_new_outputs=False,
        resume_at=None,
        asking=frozenset(),
        unanswered=frozenset(),
        early_since=None,
        early_told=False,
    )
    return state, (BeginAttempt(), *(LaunchNode(node) for node in lost))


def attempt_begun(state: State, event: AttemptBegun, now: float) -> Decision:
    """Go on with the nodes that are there already."""
    if state.phase is not Phase.STARTING:
        return state, ()
    there = state.nodes.mapped(lambda node: NodeState.UP if node is NodeState.STOPPED else node)
    return move_up(replace(state, nodes=there), now)
