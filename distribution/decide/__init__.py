"""What to do about what happened: all policy of a run, with no effects.

`decide(state, event, now)` gives the next state and the actions for the coordinator to perform. The
coordinator feeds it every event in order and calls it with `TimePassed` when `state.wake_at` has come.
`now` is the coordinator's monotonic clock in seconds; no other machine's clock is ever compared.

Each module here has the rules of one subject.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..events import (
    AttemptBegun,
    AttemptJudged,
    Event,
    LauncherAsks,
    LauncherExited,
    NodeAnswered,
    NodeCollected,
    NodeFailed,
    NodeFenced,
    NodeGone,
    NodeLost,
    NodePrepared,
    NodeStopped,
    NodeUp,
    PreemptionNoticed,
    ProcessExited,
    ProcessStarted,
    RejoinRequested,
    StopRequested,
    TimePassed,
)
from ..state import Phase, State
from .changes import Decision
from .ends import launcher_exited, process_exited
from .fencing import launcher_asks, node_answered, node_fenced
from .nodes import node_failed, node_gone, node_lost
from .preemption import preemption_noticed
from .restarts import attempt_begun, attempt_judged
from .stopping import node_collected, node_stopped
from .up import node_prepared, node_up, process_started, rejoin_requested
from .wishes import called_off, stop_requested, time_passed


def decide(state: State, event: Event, now: float) -> Decision:
    """Give the next state of a run and what to do now."""
    if state.phase is Phase.ENDED:
        return called_off(state, event) if isinstance(event, StopRequested) else state, ()
    return _RULES[type(event)](state, event, now)


_RULES: Mapping[type[Any], Callable[[State, Any, float], Decision]] = {
    NodeUp: node_up,
    NodePrepared: node_prepared,
    NodeFailed: node_failed,
    NodeLost: node_lost,
    ProcessStarted: process_started,
    ProcessExited: process_exited,
    LauncherExited: launcher_exited,
    NodeStopped: node_stopped,
    NodeCollected: node_collected,
    NodeGone: node_gone,
    NodeFenced: node_fenced,
    LauncherAsks: launcher_asks,
    NodeAnswered: node_answered,
    AttemptJudged: attempt_judged,
    AttemptBegun: attempt_begun,
    PreemptionNoticed: preemption_noticed,
    StopRequested: stop_requested,
    RejoinRequested: rejoin_requested,
    TimePassed: time_passed,
}
