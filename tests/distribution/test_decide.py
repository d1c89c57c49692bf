"""All policy of a run, tested with histories written as data: no process, no clock, no socket."""

from __future__ import annotations

import random
from dataclasses import replace
from operator import ge

import pytest

from regiment.distribution.actions import (
    Action,
    CollectNode,
    EndRun,
    FenceNode,
    LaunchNode,
    PrepareNode,
    ReleaseNode,
    StartNodeProcesses,
    StartProcesses,
    StopNode,
)
from regiment.distribution.decide import STOP_MARGIN, decide
from regiment.distribution.events import (
    Event,
    LauncherExited,
    NodeCollected,
    NodeFailed,
    NodeGone,
    NodeLost,
    NodePrepared,
    NodeStopped,
    NodeUp,
    ProcessExited,
    ProcessStarted,
    RejoinRequested,
    StopRequested,
    TimePassed,
)
from regiment.distribution.state import NodeState, Phase, Policy, State, first_state
from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus, RunStatus

UP: list[Event] = [NodeUp(0), NodeUp(1), NodePrepared(0), NodePrepared(1)]
STARTED: list[Event] = [ProcessStarted(rank, 100 + rank) for rank in range(4)]
"""Two nodes with two processes each are up and running."""
COMPLETED: list[Event] = [ProcessExited(rank, 0, None, False, 9.0) for rank in range(4)]
GONE: list[Event] = [NodeGone(0), NodeGone(1)]


def play(
    history: list[Event], policy: Policy | None = None, slots: tuple[int, ...] = (2, 2)
) -> tuple[State, list[tuple[int, Action]]]:
    """Play a history, one event a second, and give the last state and all actions with their seconds."""
    state = first_state(policy or Policy(), slots, 0.0)
    done: list[tuple[int, Action]] = []
    for second, event in enumerate(history, 1):
        state, new = decide(state, event, float(second))
        done += [(second, action) for action in new]
    return state, done


def failed(rank: int, exit_code: int | None = 7, signal: str | None = None, at: float = 9.0) -> ProcessExited:
    return ProcessExited(rank, exit_code, signal, asked=False, at=at)


def ended_by_us(rank: int) -> ProcessExited:
    return ProcessExited(rank, None, "SIGTERM", asked=True, at=10.0)


def test_a_run_in_which_all_goes_well_prepares_starts_collects_releases_and_completes() -> None:
    history = [*UP, *STARTED, *COMPLETED, NodeCollected(0), NodeCollected(1), *GONE]
    state, done = play(history)
    assert done == [
        (2, PrepareNode(0)),
        (2, PrepareNode(1)),
        (4, StartProcesses()),
        (12, CollectNode(0)),
        (12, CollectNode(1)),
        (14, ReleaseNode(0)),
        (14, ReleaseNode(1)),
        (16, EndRun()),
    ]
    assert (state.status, state.exit_status) == (RunStatus.COMPLETED, ExitStatus.COMPLETED)


def test_the_first_failure_stops_every_node_and_is_the_cause() -> None:
    state, done = play([*UP, *STARTED, failed(2), TimePassed()])
    assert done[-2:] == [(10, StopNode(0, 30.0)), (10, StopNode(1, 30.0))]
    assert state.cause is not None
    assert state.cause.message == "rank 2 on node-1 failed first: exit code 7"
    assert state.processes[2].status is ProcessStatus.FAILED


def test_those_we_ended_are_stopped_and_those_that_crashed_after_it_failed() -> None:
    history = [
        *UP,
        *STARTED,
        failed(2),
        ended_by_us(0),
        failed(1, 1),
        ProcessExited(3, None, "SIGSEGV", True, 10.0),
    ]
    state, _ = play(history)
    assert [process.status.value for process in state.processes] == ["Stopped", "Failed", "Failed", "Failed"]
    assert state.cause is not None and state.cause.rank == 2


def test_a_failure_that_was_earlier_but_reported_later_takes_the_blame() -> None:
    state, _ = play([*UP, *STARTED, failed(0, 1, at=9.02), failed(3, 7, at=9.01)])
    assert state.cause is not None and state.cause.rank == 3


def test_a_process_that_ends_well_after_we_asked_it_to_is_stopped_and_the_run_still_failed() -> None:
    history = [*UP, *STARTED, failed(0), ProcessExited(1, 0, None, True, 10.0)]
    state, _ = play(history)
    assert state.processes[1].status is ProcessStatus.STOPPED
    assert state.verdict is RunStatus.FAILED


def test_a_cancelled_run_is_canceled_whatever_its_processes_do_then() -> None:
    history = [
        *UP,
        *STARTED,
        StopRequested("cancelled"),
        failed(0, 1),
        ended_by_us(1),
        ended_by_us(2),
        ended_by_us(3),
    ]
    history += [NodeStopped(0), NodeStopped(1), NodeCollected(0), NodeCollected(1), *GONE]
    state, done = play(history)
    assert (state.status, state.exit_status) == (RunStatus.CANCELED, ExitStatus.CANCELED)
    assert state.cause is None
    assert done[-1] == (len(history), EndRun())


def test_a_second_wish_to_stop_kills_at_once() -> None:
    history = [*UP, *STARTED, StopRequested("Ctrl-C"), StopRequested("Ctrl-C", force=True)]
    _, done = play(history)
    assert done[-4:] == [
        (9, StopNode(0, 30.0)),
        (9, StopNode(1, 30.0)),
        (10, StopNode(0, 0.0)),
        (10, StopNode(1, 0.0)),
    ]


def test_wishing_again_without_force_changes_nothing() -> None:
    history = [*UP, *STARTED, StopRequested("one"), StopRequested("two")]
    state, done = play(history)
    assert done[-1][0] == 9
    assert state.canceled == "one"


def test_a_stop_while_nodes_come_up_fences_those_that_are_not_there_yet() -> None:
    state, done = play([NodeUp(0), StopRequested("Ctrl-C")])
    assert done == [(2, FenceNode(1)), (2, StopNode(0, 30.0))]
    assert state.status is RunStatus.CANCEL_REQUESTED


def test_a_lost_node_is_fenced_its_processes_are_lost_and_the_others_are_stopped() -> None:
    state, done = play([*UP, *STARTED, NodeLost(1, "was lost")])
    assert done[-2:] == [(9, FenceNode(1)), (9, StopNode(0, 30.0))]
    assert [process.status.value for process in state.processes] == ["Running", "Running", "Lost", "Lost"]
    assert state.exit_status is ExitStatus.NODE_ERROR
    assert state.cause is not None and state.cause.message == "node-1 was lost"


def test_a_node_lost_while_its_outputs_are_collected_is_no_success() -> None:
    history = [*UP, *STARTED, *COMPLETED, NodeCollected(0), NodeLost(1, "was lost"), *GONE]
    state, _ = play(history)
    assert (state.status, state.exit_status) == (RunStatus.FAILED, ExitStatus.NODE_ERROR)


def test_an_agent_that_dies_after_its_work_is_done_spoils_nothing() -> None:
    history = [
        *UP,
        *STARTED,
        *COMPLETED,
        NodeCollected(0),
        NodeCollected(1),
        NodeLost(1, "died"),
        NodeGone(0),
    ]
    state, _ = play(history)
    assert state.status is RunStatus.COMPLETED


def test_nodes_that_do_not_come_up_in_time_are_given_up() -> None:
    state, _ = play([NodeUp(0)])
    assert state.wake_at == 60.0
    state, done = decide(state, TimePassed(), 60.0)
    assert done[:2] == (FenceNode(1), StopNode(0, 30.0))
    assert state.cause is not None and state.cause.message == "node-1 did not come up in time"


def test_the_time_limit_cancels_the_run_and_says_so() -> None:
    state, _ = play([*UP, *STARTED], Policy(time_limit=100.0))
    assert state.wake_at == 100.0
    state, done = decide(state, TimePassed(), 100.0)
    assert done == (StopNode(0, 30.0), StopNode(1, 30.0))
    assert state.canceled == "time limit of 100 s reached"


def test_a_node_that_cannot_prove_its_processes_dead_is_given_up_after_the_grace() -> None:
    state, _ = play([*UP, *STARTED, StopRequested("Ctrl-C"), NodeStopped(0)])
    assert state.wake_at == 9 + 30 + STOP_MARGIN
    state, done = decide(state, TimePassed(), state.wake_at)
    assert done == (FenceNode(1), CollectNode(0))
    assert state.processes[2].status is ProcessStatus.LOST


def test_a_launcher_that_ends_before_its_processes_started_is_the_cause() -> None:
    state, done = play([*UP, LauncherExited(0, 2, None)])
    assert state.cause is not None
    assert state.cause.message == "the launcher on node-0 ended before it started its processes: exit code 2"
    assert done[-1] == (5, StopNode(1, 30.0))


def test_a_launcher_that_fails_after_its_processes_completed_is_not_asked() -> None:
    history = [*UP, *STARTED, *COMPLETED, LauncherExited(1, 1, None)]
    state, _ = play(history)
    assert state.cause is None


def test_a_launcher_that_may_restart_its_ranks_decides_itself_when_to_give_up() -> None:
    policy = Policy(launcher_restarts=1)
    history = [*UP, *STARTED, failed(1), ended_by_us(0), ended_by_us(2), ended_by_us(3), *STARTED]
    state, done = play(history, policy)
    assert done[-1] == (4, StartProcesses())
    assert state.cause is None
    state, done = play([*history, *COMPLETED], policy)
    assert done[-1][1] == CollectNode(1)
    state, done = play([*history, failed(2, 8), LauncherExited(1, 1, None)], policy)
    assert state.cause is not None and state.cause.rank == 2
    assert done[-1][1] == StopNode(1, 30.0)


def test_the_message_of_a_single_process_does_not_speak_of_ranks() -> None:
    state, _ = play([NodeUp(0), NodePrepared(0), failed(0, None, "SIGKILL")], slots=(1,))
    assert state.cause is not None and state.cause.message == "the process failed: killed by SIGKILL"


def all_events(nodes: int, ranks: int) -> list[Event]:
    found: list[Event] = [
        TimePassed(),
        StopRequested("stop"),
        StopRequested("kill", force=True),
    ]
    for node in range(nodes):
        found += [
            NodeUp(node),
            NodePrepared(node),
            NodeStopped(node),
            NodeCollected(node),
            NodeGone(node),
        ]
        found += [
            NodeLost(node, "lost"),
            NodeFailed(node, "failed"),
            LauncherExited(node, 1, None),
        ]
    for rank in range(ranks):
        found += [ProcessStarted(rank, 100), failed(rank), ended_by_us(rank)]
        found += [ProcessExited(rank, 0, None, False, 1.0)] * 3
    return found


@pytest.mark.parametrize("seed", range(300))
def test_on_a_random_walk_no_state_leaves_its_end_and_every_process_is_accounted_for(seed: int) -> None:
    chance = random.Random(seed)
    slots = tuple(chance.randint(1, 3) for _ in range(chance.randint(1, 4)))
    policy = Policy(grace=5.0, time_limit=chance.choice([None, 200.0]), launcher_restarts=chance.choice([0, 0, 1]))
    state, now = first_state(policy, slots, 0.0), 0.0
    choices = all_events(len(slots), sum(slots))
    ended = False
    for _ in range(400):
        now += chance.random() * 3
        old = state
        state, done = decide(old, chance.choice(choices), now)
        if ended:
            assert done == () and state == old, "nothing is done after the end"
        assert all(map(ge, state.nodes, old.nodes)), "a node only moves forward"
        for before, after in zip(old.processes, state.processes, strict=True):
            restarts = policy.launcher_restarts > 0 and old.phase is Phase.RUNNING
            assert not before.status.has_ended or after == before or restarts, "an ended process stays ended"
        if any(isinstance(action, EndRun) for action in done):
            ended = True
            assert state.status.is_terminal
            assert all(node >= NodeState.GONE for node in state.nodes)
        assert (state.phase is Phase.ENDED) == ended


@pytest.mark.parametrize("seed", range(100))
def test_success_always_means_that_every_process_reported_exit_code_0(seed: int) -> None:
    chance = random.Random(seed)
    state = first_state(Policy(), (2, 2), 0.0)
    choices = all_events(2, 4)
    for second in range(300):
        state, _ = decide(state, chance.choice(choices), float(second))
        if state.status is RunStatus.COMPLETED:
            assert all(process.exit_code == 0 for process in state.processes)
            assert state.exit_status is ExitStatus.COMPLETED


def test_every_run_ends_even_if_no_node_ever_answers() -> None:
    state, now = first_state(Policy(), (1, 1), 0.0), 0.0
    while state.wake_at is not None:
        now = state.wake_at
        state, _ = decide(state, TimePassed(), now)
    assert state.phase is Phase.ENDED
    assert state.verdict is RunStatus.FAILED


def test_a_state_can_be_compared_and_copied_because_it_is_frozen() -> None:
    state = first_state(Policy(), (1,), 0.0)
    with pytest.raises(AttributeError):
        state.phase = Phase.ENDED  # type: ignore[misc]
    assert replace(state) == state


# --- elastic runs -----------------------------------------------------------------------------------

ELASTIC = Policy(min_nodes=1, launcher_restarts=3)


def test_an_elastic_run_goes_on_without_a_lost_node_and_completes_on_the_others() -> None:
    history = [*UP, *STARTED, NodeLost(1, "was lost"), ProcessExited(0, 0, None, False, 9.0)]
    state, done = play([*history, ProcessExited(1, 0, None, False, 9.0), NodeCollected(0), NodeGone(0)], ELASTIC)
    assert done[-4:] == [(9, FenceNode(1)), (11, CollectNode(0)), (12, ReleaseNode(0)), (13, EndRun())]
    assert (state.status, state.cause) == (RunStatus.COMPLETED, None)
    assert [process.status.value for process in state.processes] == ["Completed", "Completed", "Lost", "Lost"]


def test_a_lost_node_that_is_wanted_back_is_launched_prepared_and_started_alone() -> None:
    history: list[Event] = [*UP, *STARTED, NodeLost(1, "was lost"), RejoinRequested(), NodeUp(1), NodePrepared(1)]
    state, done = play([*history, ProcessStarted(2, 7), ProcessStarted(3, 8), *COMPLETED], ELASTIC)
    assert done[2:7] == [
        (4, StartProcesses()),
        (9, FenceNode(1)),
        (10, LaunchNode(1)),
        (11, PrepareNode(1)),
        (12, StartNodeProcesses(1)),
    ]
    assert done[-2:] == [(18, CollectNode(0)), (18, CollectNode(1))]
    assert state.is_complete


def test_a_run_that_completes_while_a_node_is_joining_does_not_wait_for_it() -> None:
    history: list[Event] = [*UP, *STARTED, NodeLost(1, "was lost"), RejoinRequested()]
    state, done = play([*history, *COMPLETED[:2]], ELASTIC)
    assert done[-2:] == [(12, FenceNode(1)), (12, StopNode(0, 30.0))]
    assert state.cause is None and state.is_complete


def test_an_elastic_run_fails_without_node_0_and_without_its_fewest_nodes() -> None:
    state, _ = play([*UP, *STARTED, NodeLost(0, "was lost")], ELASTIC)
    assert state.cause is not None and state.cause.message == "node-0 was lost"
    state, _ = play([*UP, *STARTED, NodeLost(1, "was lost")], Policy(min_nodes=2))
    assert state.cause is not None and state.cause.message == "node-1 was lost"


def test_an_elastic_run_starts_with_the_nodes_that_come_up() -> None:
    state, done = play([NodeUp(0), NodeLost(1, "did not come up in time"), NodePrepared(0)], ELASTIC)
    assert done == [(2, FenceNode(1)), (2, PrepareNode(0)), (3, StartProcesses())]
    assert state.phase is Phase.RUNNING


def test_only_an_elastic_run_has_nodes_rejoin() -> None:
    _, done = play([*UP, *STARTED, RejoinRequested()])
    assert not any(isinstance(action, LaunchNode) for _, action in done)
