"""Restarts as histories: when another attempt follows, when none does, and that nothing old is alive when it begins."""

from __future__ import annotations

import pytest

from regiment.distribution.actions import (
    Action,
    BeginAttempt,
    CollectNode,
    EndAttempt,
    FenceNode,
    JudgeAttempt,
    LaunchNode,
    PrepareNode,
    Say,
    StartProcesses,
)
from regiment.distribution.causes import CauseClass
from regiment.distribution.decide import decide
from regiment.distribution.events import (
    AttemptBegun,
    AttemptJudged,
    Event,
    NodeFailed,
    NodeFenced,
    NodeLost,
    NodePrepared,
    NodeStopped,
    NodeUp,
    ProcessExited,
    ProcessStarted,
    StopRequested,
    TimePassed,
)
from regiment.distribution.state import NodeState, Phase, Policy, State, first_state
from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus, RunStatus
from regiment.jobs.spec import Restarts

READY: list[Event] = [NodePrepared(0), NodePrepared(1), ProcessStarted(0, 100), ProcessStarted(1, 101)]
FAILED: list[Event] = [
    ProcessExited(1, 7, None, False, 9.0),
    TimePassed(),
    ProcessExited(0, None, "SIGTERM", True, 9.5),
    NodeStopped(0),
    NodeStopped(1),
]
"""Rank 1 fails, rank 0 is stopped, and both nodes are proved clean."""
THREE = Policy(restarts=Restarts(max=3, progress=10.0))


class Play:
    """Plays a run of two nodes with a process each, and does what the coordinator does by itself."""

    def __init__(self, policy: Policy, kind: CauseClass = CauseClass.USER_ERROR) -> None:
        self.state: State = first_state(policy, (1, 1), 0.0)
        self.now = 0.0
        self.done: list[Action] = []
        self.kind = kind
        self.fences_well = True
        self.happen(NodeUp(0), NodeUp(1), *READY)

    def happen(self, *happened: Event, step: float = 1.0) -> None:
        """Let things happen, one a second."""
        for event in happened:
            self.now += step
            self._decide(event)

    def _decide(self, event: Event) -> None:
        self.state, actions = decide(self.state, event, self.now)
        for action in actions:
            self.done.append(action)
            match action:
                case JudgeAttempt():
                    assert self.state.cause is not None
                    self._decide(AttemptJudged(replace(self.state.cause, kind=self.kind)))
                case BeginAttempt():
                    self._decide(AttemptBegun())
                case FenceNode(node):
                    self._decide(NodeFenced(node, self.fences_well))

    def pause_is_over(self) -> None:
        """Let time pass until the next attempt is due."""
        assert self.state.wake_at is not None
        self.now = self.state.wake_at
        self._decide(TimePassed())

    def pauses(self) -> list[float]:
        """Give how long the pauses between attempts were."""
        return [action.pause for action in self.done if isinstance(action, EndAttempt)]

    def says(self) -> list[str]:
        """Give what was said to people."""
        return [action.text for action in self.done if isinstance(action, Say)]


def test_a_run_that_may_restart_begins_again_on_the_same_nodes_once_both_are_clean() -> None:
    play = Play(THREE)
    play.happen(*FAILED)
    assert play.state.phase is Phase.BETWEEN and play.state.status is RunStatus.STARTING
    assert play.done[-1] == EndAttempt(1.0, 2)
    play.pause_is_over()
    assert play.done[-3:] == [BeginAttempt(), PrepareNode(0), PrepareNode(1)]
    assert (play.state.attempt, play.state.cause) == (1, None)
    assert all(process.status is ProcessStatus.NOT_STARTED for process in play.state.processes)
    play.happen(*READY, ProcessExited(0, 0, None, False, 50.0), ProcessExited(1, 0, None, False, 50.0))
    assert play.done[-3:] == [StartProcesses(), CollectNode(0), CollectNode(1)]
    assert play.state.is_complete


def test_without_the_proof_of_every_node_no_attempt_follows() -> None:
    play = Play(THREE)
    play.happen(*FAILED[:-1])
    assert play.state.phase is Phase.STOPPING and not play.pauses()


def test_without_being_asked_for_it_a_run_starts_nothing_again() -> None:
    play = Play(Policy())
    play.happen(*FAILED)
    assert play.state.phase is Phase.COLLECTING and play.state.exit_status is ExitStatus.JOB_FAILED


def test_a_lost_node_is_fenced_and_launched_again_for_the_next_attempt() -> None:
    play = Play(THREE, CauseClass.INFRASTRUCTURE)
    play.happen(NodeLost(1, "was lost"), ProcessExited(0, None, "SIGTERM", True, 9.5), NodeStopped(0))
    play.pause_is_over()
    assert play.done[-2:] == [BeginAttempt(), LaunchNode(1)]
    assert play.state.nodes == (NodeState.UP, NodeState.STARTING)
    play.happen(NodeUp(1))
    assert play.done[-2:] == [PrepareNode(0), PrepareNode(1)]


def test_a_lost_node_that_may_still_run_something_ends_the_run() -> None:
    play = Play(THREE, CauseClass.INFRASTRUCTURE)
    play.fences_well = False
    play.happen(NodeLost(1, "was lost"), NodeStopped(0))
    play.pause_is_over()
    assert play.state.phase is Phase.COLLECTING and play.state.attempt == 0
    assert play.says() == ["no restart: node-1 may still run processes of the run"]


def test_infrastructure_has_a_budget_of_its_own() -> None:
    policy = Policy(restarts=Restarts(max=0, infrastructure=1, progress=1.0))
    play = Play(policy, CauseClass.USER_ERROR)
    play.happen(*FAILED)
    assert not play.pauses()
    play = Play(policy, CauseClass.INFRASTRUCTURE)
    play.happen(*FAILED)
    play.pause_is_over()
    play.happen(*READY, *FAILED)
    assert play.pauses() == [1.0] and play.state.phase is Phase.COLLECTING
    assert "no restart is left" in play.says()[0]


def test_the_pauses_double_up_to_a_bound() -> None:
    play = Play(Policy(restarts=Restarts(max=9, backoff=2.0, max_backoff=10.0, progress=0.0)))
    for _ in range(5):
        play.happen(*FAILED)
        play.pause_is_over()
        play.happen(*READY)
    assert play.pauses() == [2.0, 4.0, 8.0, 10.0, 10.0]


def test_three_attempts_without_progress_are_enough_and_have_an_exit_status_of_their_own() -> None:
    play = Play(THREE)
    for _ in range(2):
        play.happen(*FAILED)
        play.pause_is_over()
        play.happen(*READY)
    play.happen(*FAILED)
    assert play.state.phase is Phase.COLLECTING
    assert play.state.exit_status is ExitStatus.NO_PROGRESS
    assert play.state.cause is not None and "rank 1 on node-1 failed first: exit code 7; none of the" in (
        play.state.cause.message
    )


@pytest.mark.parametrize("by", ["time", "outputs"])
def test_an_attempt_that_ran_long_enough_or_wrote_something_new_has_made_progress(by: str) -> None:
    play = Play(Policy(restarts=Restarts(max=9, progress=100.0)))
    for _ in range(5):
        play.now += 200.0 if by == "time" else 0.0
        play.happen(*FAILED[:-1], NodeStopped(1, has_new_outputs=by == "outputs"))
        assert play.state.phase is Phase.BETWEEN
        play.pause_is_over()
        play.happen(*READY)


def test_a_restart_counts_no_more_once_the_run_has_gone_well_for_long_enough() -> None:
    play = Play(Policy(restarts=Restarts(max=1, refill=1000.0, progress=0.0)))
    for _ in range(3):
        play.now += 1001.0
        play.happen(*FAILED)
        play.pause_is_over()
        play.happen(*READY)
    assert play.state.attempt == 3
    play.happen(*FAILED)
    assert play.state.phase is Phase.COLLECTING


def test_the_time_that_stopping_takes_is_no_progress() -> None:
    play = Play(THREE)
    play.happen(*FAILED[:3])
    play.now += 1000.0
    play.happen(*FAILED[3:])
    assert play.state.barren == 1


def test_a_wish_to_end_the_run_is_heeded_between_two_attempts_and_twice_is_as_once() -> None:
    play = Play(THREE)
    play.happen(*FAILED, StopRequested("cancelled"), StopRequested("cancelled again"), TimePassed())
    assert (play.state.canceled, play.state.phase, play.state.attempt) == ("cancelled", Phase.COLLECTING, 0)
    assert play.done.count(CollectNode(0)) == 1


def test_a_wish_that_comes_while_an_attempt_is_stopped_lets_no_other_follow() -> None:
    play = Play(THREE)
    play.happen(*FAILED[:3], StopRequested("cancelled"), *FAILED[3:], TimePassed())
    assert (play.state.canceled, play.state.phase) == ("cancelled", Phase.COLLECTING)
    play = Play(Policy())
    play.happen(*FAILED[:3], StopRequested("cancelled"), *FAILED[3:])
    assert play.state.canceled is None and play.state.verdict is RunStatus.FAILED, "it had failed anyway"


def test_a_wish_to_kill_at_once_while_an_attempt_is_stopped_lets_no_other_follow() -> None:
    play = Play(THREE)
    play.happen(*FAILED[:2], StopRequested("Ctrl-C"), StopRequested("Ctrl-C", force=True), *FAILED[3:])
    assert play.state.canceled == "Ctrl-C" and play.state.attempt == 0


def test_a_cancelled_run_has_no_other_attempt() -> None:
    play = Play(THREE)
    play.happen(StopRequested("cancelled"), *FAILED)
    assert play.state.phase is Phase.COLLECTING and play.state.verdict is RunStatus.CANCELED


def test_the_time_limit_spans_all_attempts() -> None:
    play = Play(Policy(restarts=Restarts(max=3), time_limit=20.0))
    play.happen(*FAILED)
    play.pause_is_over()
    play.happen(*READY)
    play.now = 20.0
    play.happen(TimePassed(), step=0.0)
    assert play.state.canceled == "time limit of 20 s reached"


def test_no_attempt_is_announced_that_the_time_limit_would_forbid() -> None:
    play = Play(Policy(restarts=Restarts(max=3, backoff=60.0), time_limit=50.0))
    play.happen(*FAILED)
    assert play.state.phase is Phase.COLLECTING and play.state.verdict is RunStatus.FAILED
    assert play.says() == ["no restart: the run's time would be up before"]


def test_a_node_that_cannot_do_its_part_would_not_in_another_attempt_either() -> None:
    play = Play(THREE)
    play.happen(NodeFailed(1, "failed: no room"), NodeStopped(0), NodeStopped(1))
    assert play.state.phase is Phase.COLLECTING


def test_a_node_that_does_not_come_back_counts_as_lost_again() -> None:
    play = Play(Policy(restarts=Restarts(max=1, progress=0.0)), CauseClass.INFRASTRUCTURE)
    play.happen(NodeLost(1, "was lost"), NodeStopped(0))
    play.pause_is_over()
    play.now += 60.0
    play.happen(TimePassed(), NodeStopped(0))
    assert play.state.phase is Phase.COLLECTING and play.state.exit_status is ExitStatus.NODE_ERROR
    assert play.state.cause is not None and play.state.cause.message == "node-1 did not come up in time"


def test_a_node_that_is_lost_between_two_attempts_is_fenced_and_comes_back_too() -> None:
    play = Play(THREE)
    play.happen(*FAILED, NodeLost(1, "was lost"))
    play.pause_is_over()
    assert play.done[-3:] == [FenceNode(1), BeginAttempt(), LaunchNode(1)]
