"""Nodes that are cut off: nothing is started anew while they may still run what they ran. One event a second."""

from __future__ import annotations

import pytest

from regiment.distribution.actions import (
    Action,
    AskNode,
    AwaitEnd,
    BeginAttempt,
    EndRun,
    FenceNode,
    JudgeAttempt,
    LetStart,
    MeetAgain,
    PrepareNode,
    StartProcesses,
)
from regiment.distribution.causes import CauseClass
from regiment.distribution.decide import decide
from regiment.distribution.events import (
    AttemptBegun,
    AttemptJudged,
    Event,
    LauncherAsks,
    NodeAnswered,
    NodeCollected,
    NodeFenced,
    NodeGone,
    NodeLost,
    NodePrepared,
    NodeStopped,
    NodeUp,
    ProcessStarted,
    RejoinRequested,
    TimePassed,
)
from regiment.distribution.state import Phase, Policy, State, first_state
from regiment.jobs.dataclass import replace
from regiment.jobs.spec import Restarts

ALL = (0, 1, 2)
RUNS: list[Event] = [*map(NodeUp, ALL), *map(NodePrepared, ALL), *(ProcessStarted(rank, 100 + rank) for rank in ALL)]
ELASTIC = Policy(min_nodes=1, launcher_restarts=3, launcher="torchrun")
FIXED = Policy(restarts=Restarts(max=3, infrastructure=3))
ENDS_BY = 50.0


class Play:
    """A run of three nodes with a process each, of which node 2 is lost and cannot be reached."""

    def __init__(self, policy: Policy) -> None:
        self.state: State = first_state(policy, (1, 1, 1), 0.0)
        self.now = 0.0
        self.done: list[Action] = []
        self.happen(*RUNS)
        self.done.clear()

    def happen(self, *happened: Event) -> list[Action]:
        """Let things happen; gives what was done since the run began."""
        for event in happened:
            self.now += 1.0
            self._decide(event)
        return self.done

    def _decide(self, event: Event) -> None:
        self.state, actions = decide(self.state, event, self.now)
        for action in actions:
            self.done.append(action)
            match action:
                case FenceNode(node):
                    self._decide(NodeFenced(node, is_clean=True, ends_by=ENDS_BY))
                case JudgeAttempt():
                    assert self.state.cause is not None
                    self._decide(AttemptJudged(replace(self.state.cause, kind=CauseClass.INFRASTRUCTURE)))
                case BeginAttempt():
                    self._decide(AttemptBegun())

    def pass_time(self) -> list[Action]:
        """Let the time pass that is waited for; gives what is done then."""
        assert self.state.wake_at is not None
        self.now, before = self.state.wake_at, len(self.done)
        self._decide(TimePassed())
        return self.done[before:]


def between() -> Play:
    """Give a run with a fixed number of nodes whose next attempt is prepared on the other nodes."""
    play = Play(FIXED)
    play.happen(NodeLost(2, "was lost"), NodeStopped(0), NodeStopped(1))
    assert play.pass_time()[0] == BeginAttempt()
    return play


def test_the_next_attempt_is_prepared_and_starts_when_the_lost_node_has_ended_what_it_ran() -> None:
    play = between()
    play.happen(NodeUp(2), *map(NodePrepared, ALL))
    assert play.done[-4:] == [*map(PrepareNode, ALL), AwaitEnd(2, ENDS_BY)]
    assert play.state.phase is Phase.PREPARING and play.state.wake_at == ENDS_BY
    assert play.pass_time() == [StartProcesses()]


def test_a_node_that_comes_back_to_its_place_has_waited_there_itself() -> None:
    play = between()
    play.happen(NodeUp(2, is_same_place=True), *map(NodePrepared, ALL))
    assert play.done[-1] == StartProcesses() and play.now < ENDS_BY


def test_nobody_waits_for_a_lost_node_that_says_itself_that_it_is_clean() -> None:
    play = Play(FIXED)
    play.happen(NodeLost(2, "was lost"), NodeGone(2), NodeStopped(0), NodeStopped(1))
    play.pass_time()
    play.happen(NodeUp(2), *map(NodePrepared, ALL))
    assert play.done[-1] == StartProcesses() and play.now < ENDS_BY


def test_what_a_lost_node_has_not_been_told_to_start_is_not_waited_for() -> None:
    state, _ = decide(first_state(ELASTIC, (1, 1), 0.0), NodeUp(0), 1.0)
    state, _ = decide(state, NodeLost(1, "was lost"), 2.0)
    _, done = decide(state, NodeFenced(1, is_clean=True, ends_by=ENDS_BY), 3.0)
    assert done == (PrepareNode(0),)


def test_elastic_launchers_meet_at_once_and_start_nothing_before_the_lost_node_has_ended() -> None:
    play = Play(ELASTIC)
    assert play.happen(NodeLost(2, "was lost")) == [FenceNode(2), AwaitEnd(2, ENDS_BY), MeetAgain(0)]
    play.done.clear()
    assert play.happen(LauncherAsks(0), LauncherAsks(1)) == [AskNode(1, 1)]
    assert play.happen(NodeAnswered(1, 1)) == [AskNode(1, 1)]
    assert play.pass_time() == [LetStart(0), LetStart(1)] and play.now == ENDS_BY


def test_elastic_launchers_that_meet_before_a_loss_is_noticed_wait_for_a_word_of_every_node() -> None:
    play = Play(ELASTIC)
    assert play.happen(LauncherAsks(0), LauncherAsks(1), NodeAnswered(1, 1)) == [AskNode(1, 1), AskNode(2, 1)]
    play.done.clear()
    # It does not come: node 2 is cut off, and runs what it ran for some time.
    assert play.happen(NodeLost(2, "was lost")) == [FenceNode(2), AwaitEnd(2, ENDS_BY), MeetAgain(0)]
    assert play.happen(NodeGone(2))[-2:] == [LetStart(0), LetStart(1)]


@pytest.mark.parametrize("nodes", [(1, 2), (2, 1)])
def test_where_all_nodes_answer_an_elastic_launcher_starts_at_once(nodes: tuple[int, int]) -> None:
    play = Play(ELASTIC)
    assert play.happen(LauncherAsks(0), *(NodeAnswered(node, 1) for node in nodes))[-1:] == [LetStart(0)]


def test_an_answer_to_an_earlier_question_does_not_count() -> None:
    play = Play(ELASTIC)
    play.happen(LauncherAsks(0), NodeAnswered(1, 1), NodeAnswered(2, 1), LauncherAsks(0), NodeAnswered(1, 2))
    assert LetStart(0) not in play.happen(NodeAnswered(2, 1))[-1:]
    assert play.happen(NodeAnswered(2, 2))[-1:] == [LetStart(0)]


def test_a_node_that_rejoins_at_its_place_ends_the_wait_for_its_earlier_life() -> None:
    play = Play(ELASTIC)
    play.happen(NodeLost(2, "was lost"), RejoinRequested(), LauncherAsks(0), NodeAnswered(1, 1))
    play.done.clear()
    assert play.happen(NodeUp(2, is_same_place=True)) == [PrepareNode(2), LetStart(0)]


def test_a_scheduler_is_asked_to_begin_a_run_again_when_the_lost_node_has_ended_what_it_ran() -> None:
    play = Play(Policy(may_requeue=True))
    play.happen(NodeLost(2, "was lost"), NodeStopped(0), NodeStopped(1), NodeCollected(0), NodeCollected(1))
    assert play.happen(NodeGone(0), NodeGone(1))[-1] == AwaitEnd(2, ENDS_BY)
    assert play.state.phase is Phase.RELEASING
    assert play.pass_time() == []  # It is the agents' time to go that is over.
    assert play.pass_time() == [EndRun()]
