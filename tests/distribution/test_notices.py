"""Preemption notices and processes that end early, as histories."""

from __future__ import annotations

import pytest

from regiment.distribution.actions import FenceNode, Say, SignalNode, StopNode
from regiment.distribution.decide import decide
from regiment.distribution.decide.ends import SETTLE
from regiment.distribution.events import (
    Event,
    LauncherExited,
    NodeLost,
    NodeStopped,
    NodeUp,
    PreemptionNoticed,
    ProcessExited,
    StopRequested,
    TimePassed,
)
from regiment.distribution.history import events_between
from regiment.distribution.state import Phase, Policy
from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus, RunStatus
from regiment.jobs.spec import EarlyExit, Restarts

from .test_decide import COMPLETED, GONE, STARTED, UP, WOUND_UP, failed, play

NOTICE = PreemptionNoticed("its viewer got SIGUSR1", "SIGUSR1")
TAKEN = PreemptionNoticed("the agent of node-1 got SIGTERM", "SIGTERM", grace=6.0)
REASON = "preempted: its viewer got SIGUSR1"


def test_a_notice_is_passed_on_to_every_node_once_whoever_else_gets_it() -> None:
    again = PreemptionNoticed("the agent of node-1 got SIGUSR1", "SIGUSR1")
    state, done = play([*UP, *STARTED, NOTICE, again, NOTICE])
    signals = [action for _, action in done if isinstance(action, SignalNode)]
    assert signals == [SignalNode(0, "SIGUSR1"), SignalNode(1, "SIGUSR1")]
    assert state.preempting == "its viewer got SIGUSR1" and state.status is RunStatus.RUNNING


def test_the_record_is_told_of_a_notice() -> None:
    old, _ = play([*UP, *STARTED], Policy(preemption_grace=60.0))
    new, _ = decide(old, NOTICE, 9.0)
    assert list(events_between(old, new, 9.0)) == [
        {"event": "preempting", "source": "its viewer got SIGUSR1", "signal": "SIGUSR1", "remainingSeconds": 60.0}
    ]


def test_processes_that_end_after_a_notice_make_the_run_preempted_and_not_completed() -> None:
    state, _ = play([*UP, *STARTED, NOTICE, *COMPLETED, *WOUND_UP])
    assert (state.status, state.exit_status) == (RunStatus.CANCELED, ExitStatus.PREEMPTED)
    assert state.canceled == REASON
    assert state.processes[0].status is ProcessStatus.COMPLETED


def test_a_process_that_fails_after_a_notice_has_the_others_stopped_and_is_not_blamed() -> None:
    state, _ = play([*UP, *STARTED, NOTICE, failed(1, None, "SIGUSR1")])
    assert state.wake_at == 10 + SETTLE
    state, done = decide(state, TimePassed(), state.wake_at)
    assert done == (StopNode(0, 30.0), StopNode(1, 30.0))
    assert state.cause is None and state.exit_status is ExitStatus.PREEMPTED


def test_a_node_that_goes_after_a_notice_was_taken_away() -> None:
    state, _ = play([*UP, *STARTED, NOTICE, NodeLost(1, "was lost")], Policy(restarts=Restarts(max=3)))
    assert state.cause is None and state.exit_status is ExitStatus.PREEMPTED


def test_a_launcher_that_dies_of_the_notice_was_taken_away_too() -> None:
    state, _ = play([*UP, *STARTED, NOTICE, LauncherExited(0, None, "SIGUSR1")])
    assert state.cause is None and state.exit_status is ExitStatus.PREEMPTED


def test_a_node_that_is_being_taken_away_has_all_processes_stopped_in_the_time_it_has() -> None:
    state, done = play([*UP, *STARTED, TAKEN])
    stops = [action for _, action in done if isinstance(action, StopNode | SignalNode)]
    assert stops == [StopNode(0, 6.0), StopNode(1, 6.0)]
    assert state.canceled == "preempted: the agent of node-1 got SIGTERM"
    assert state.exit_status is ExitStatus.PREEMPTED


def test_an_elastic_run_goes_on_without_a_node_that_is_taken_away_but_not_without_node_0() -> None:
    policy = Policy(min_nodes=1)
    state, done = play([*UP, *STARTED, replace(TAKEN, node=1)], policy)
    assert state.phase is Phase.RUNNING and FenceNode(1) in [action for _, action in done]
    state, _ = play([*UP, *STARTED, replace(TAKEN, node=0)], policy)
    assert state.phase is Phase.STOPPING and state.exit_status is ExitStatus.PREEMPTED


def test_processes_that_are_being_stopped_have_no_longer_than_their_node() -> None:
    old, _ = play([*UP, *STARTED, StopRequested("cancelled by Ctrl-C", is_persons=True)])
    assert old.kill_at is not None
    state, done = decide(old, TAKEN, old.kill_at - 20)
    assert done == (StopNode(0, 6.0), StopNode(1, 6.0))
    assert state.canceled == "cancelled by Ctrl-C" and state.exit_status is ExitStatus.CANCELED


def test_a_preempted_run_has_no_other_attempt() -> None:
    history = [*UP, *STARTED, NOTICE, *(failed(rank) for rank in range(4)), NodeStopped(0), NodeStopped(1)]
    state, _ = play(history, Policy(restarts=Restarts(max=3)))
    assert state.phase is Phase.COLLECTING


def test_the_schedulers_stop_after_its_notice_is_the_preemption_and_a_persons_is_not() -> None:
    state, _ = play([*UP, *STARTED, NOTICE, StopRequested("its coordinator got SIGTERM")])
    assert (state.canceled, state.exit_status) == (REASON, ExitStatus.PREEMPTED)
    state, _ = play([*UP, *STARTED, NOTICE, StopRequested("cancelled by Ctrl-C", is_persons=True)])
    assert (state.canceled, state.exit_status) == ("cancelled by Ctrl-C", ExitStatus.CANCELED)


@pytest.mark.parametrize("left", range(len(WOUND_UP) + 1))
def test_a_preempted_run_that_a_person_cancels_is_cancelled_however_late_that_is(left: int) -> None:
    history = [*UP, *STARTED, NOTICE, *COMPLETED, *WOUND_UP]
    wish = StopRequested("cancelled by Ctrl-C", is_persons=True)
    history.insert(len(history) - left, wish)
    state, _ = play(history)
    assert (state.canceled, state.exit_status) == (wish.reason, ExitStatus.CANCELED)
    assert state.called_off == wish.reason


def test_a_person_who_cancels_a_run_that_has_failed_only_keeps_it_from_going_on() -> None:
    state, _ = play([*UP, *STARTED, failed(1), TimePassed(), *WOUND_UP])
    late, _ = decide(state, StopRequested("cancelled by Ctrl-C", is_persons=True), 99.0)
    assert late == replace(state, called_off="cancelled by Ctrl-C")


def test_a_failure_before_the_notice_stays_the_cause() -> None:
    state, _ = play([*UP, *STARTED, failed(1), NOTICE, TimePassed(), *GONE])
    assert state.cause is not None and state.cause.rank == 1 and state.canceled is None


def test_with_a_grace_for_it_processes_are_stopped_when_that_is_over() -> None:
    state, _ = play([*UP, *STARTED, NOTICE], Policy(preemption_grace=50.0))
    assert state.wake_at == 9 + 50
    state, done = decide(state, TimePassed(), state.wake_at)
    assert done == (StopNode(0, 30.0), StopNode(1, 30.0))
    assert state.exit_status is ExitStatus.PREEMPTED


def test_a_notice_before_the_start_ends_the_run() -> None:
    state, _ = play([NodeUp(0), NodeUp(1), NOTICE])
    assert state.phase is Phase.STOPPING and state.exit_status is ExitStatus.PREEMPTED


# --- processes that end early -----------------------------------------------------------------------


def test_it_is_said_once_that_a_process_has_finished_and_others_have_not() -> None:
    state, _ = play([*UP, *STARTED, COMPLETED[1]])
    assert state.wake_at == 9 + 30
    state, done = decide(state, TimePassed(), 39.0)
    assert done == (Say("rank 1 on node-0 finished, 3 still running; regiment.early_exit says how long that may be"),)
    assert state.wake_at is None and state.phase is Phase.RUNNING


def test_nothing_is_said_where_all_have_finished_by_then() -> None:
    state, _ = play([*UP, *STARTED, COMPLETED[1], COMPLETED[0], COMPLETED[2], COMPLETED[3]])
    assert state.phase is Phase.COLLECTING and state.wake_at is None


def test_a_run_fails_for_it_where_that_is_asked_for() -> None:
    state, _ = play([*UP, *STARTED, COMPLETED[1]], Policy(early_exit=EarlyExit(warn=5.0, fail=600.0)))
    state, _ = decide(state, TimePassed(), 14.0)
    assert state.wake_at == 9 + 600
    state, done = decide(state, TimePassed(), 609.0)
    assert done == (StopNode(0, 30.0), StopNode(1, 30.0))
    assert state.cause is not None
    assert state.cause.message == "rank 1 on node-0 finished, 3 still running after 600 s (early_exit: fail)"
    assert state.exit_status is ExitStatus.JOB_FAILED


def test_it_counts_as_early_too_where_the_others_are_only_then_heard_of() -> None:
    """Each node tells of its own: one may have come to its end before another's first word is there."""
    policy = Policy(early_exit=EarlyExit(warn=5.0, fail=600.0))
    state, _ = play([*UP, STARTED[1], COMPLETED[1]], policy)
    assert state.early_since is None
    state, _ = decide(state, STARTED[0], 11.0)
    assert state.wake_at == 11 + 5
    state, _ = decide(state, STARTED[2], 12.0)
    assert state.wake_at == 11 + 5


def test_helpers_may_end_when_they_like() -> None:
    history: list[Event] = [*UP, *STARTED, ProcessExited(2, 0, None, False, 9.0)]
    state, _ = play(history, helpers=(2, 3))
    assert state.early_since is None
