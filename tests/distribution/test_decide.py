"""All policy of a run, tested with histories written as data: no process, no clock, no socket."""

from __future__ import annotations

import random
from operator import ge
from typing import Any

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
from regiment.distribution.causes import CauseClass
from regiment.distribution.decide import decide
from regiment.distribution.decide.ends import SETTLE
from regiment.distribution.decide.stopping import STOP_MARGIN
from regiment.distribution.events import (
    AttemptBegun,
    AttemptJudged,
    Event,
    LauncherExited,
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
from regiment.distribution.history import events_between
from regiment.distribution.state import Cause, NodeState, Phase, Policy, State, first_state
from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus, RunStatus
from regiment.jobs.spec import EarlyExit, Restarts

UP: list[Event] = [NodeUp(0), NodeUp(1), NodePrepared(0), NodePrepared(1)]
STARTED: list[Event] = [ProcessStarted(rank, 100 + rank) for rank in range(4)]
"""Two nodes with two processes each are up and running."""
COMPLETED: list[Event] = [ProcessExited(rank, 0, None, False, 9.0) for rank in range(4)]
GONE: list[Event] = [NodeGone(0), NodeGone(1)]


def play(
    history: list[Event],
    policy: Policy | None = None,
    slots: tuple[int, ...] = (2, 2),
    helpers: tuple[int, ...] = (),
) -> tuple[State, list[tuple[int, Action]]]:
    """Play a history, one event a second, and give the last state and all actions with their seconds."""
    state = first_state(policy or Policy(), slots, 0.0, helpers)
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


# --- processes that the run does not wait for -------------------------------------------------------

HELPERS = (2, 3)
"""The ranks on node 1; ranks 0 and 1 end the run."""
TRAINED: list[Event] = [ProcessExited(rank, 0, None, False, 9.0) for rank in (0, 1)]
STOPPED: list[Event] = [ended_by_us(rank) for rank in range(4)]
WOUND_UP: list[Event] = [NodeStopped(0), NodeStopped(1), NodeCollected(0), NodeCollected(1), *GONE]


def test_helpers_are_stopped_once_the_others_have_completed_and_the_run_is_complete() -> None:
    history = [*UP, *STARTED, *TRAINED, ended_by_us(2), ended_by_us(3), *WOUND_UP]
    state, done = play(history, helpers=HELPERS)
    assert done[3:5] == [(10, StopNode(0, 30.0)), (10, StopNode(1, 30.0))]
    assert (state.status, state.exit_status) == (RunStatus.COMPLETED, ExitStatus.COMPLETED)
    assert [process.status.value for process in state.processes] == ["Completed", "Completed", "Stopped", "Stopped"]


def test_helpers_that_have_ended_by_themselves_need_not_be_stopped() -> None:
    state, done = play([*UP, *STARTED, *COMPLETED[2:], *TRAINED], helpers=HELPERS)
    assert done[-2:] == [(12, CollectNode(0)), (12, CollectNode(1))]
    assert state.cause is None


def test_a_helper_that_ends_well_before_the_others_changes_nothing() -> None:
    state, done = play([*UP, *STARTED, COMPLETED[2]], helpers=HELPERS)
    assert done[-1] == (4, StartProcesses())
    assert state.phase is Phase.RUNNING and state.settled_at is None


def test_a_helper_that_fails_while_it_is_needed_fails_the_run() -> None:
    history = [*UP, *STARTED, failed(3, None, "SIGKILL"), TimePassed(), *STOPPED[:3], *WOUND_UP]
    state, _ = play(history, helpers=HELPERS)
    assert (state.status, state.exit_status) == (RunStatus.FAILED, ExitStatus.JOB_FAILED)
    assert state.cause is not None and state.cause.message == "rank 3 on node-1 failed first: killed by SIGKILL"


@pytest.mark.parametrize(
    "end",
    [
        failed(2, 1),
        failed(2, None, "SIGABRT"),
        ProcessExited(2, None, "SIGSEGV", True, 10.0),
        ProcessExited(2, None, "SIGKILL", True, 10.0),
    ],
)
def test_how_helpers_end_once_the_others_have_completed_does_not_matter(end: ProcessExited) -> None:
    state, _ = play([*UP, *STARTED, *TRAINED, end, ended_by_us(3), *WOUND_UP], helpers=HELPERS)
    assert (state.status, state.exit_status) == (RunStatus.COMPLETED, ExitStatus.COMPLETED)
    assert state.cause is None


def test_a_helper_that_fails_a_moment_before_the_others_complete_was_no_longer_needed() -> None:
    state = play([*UP, *STARTED, TRAINED[0]], helpers=HELPERS)[0]
    state, _ = decide(state, failed(2, 1), 10.0)
    state, done = decide(state, TRAINED[1], 10.1)
    assert done == (StopNode(0, 30.0), StopNode(1, 30.0))
    assert state.cause is None and state.is_complete


def test_a_process_that_fails_after_the_run_was_cancelled_is_cancelled_too() -> None:
    lost_its_peer = ProcessExited(3, 14, None, False, 9.0)
    state, _ = play([*UP, *STARTED, StopRequested("cancelled"), lost_its_peer])
    assert state.processes[3].status is ProcessStatus.CANCELED
    crashed = ProcessExited(3, None, "SIGSEGV", False, 9.0)
    state, _ = play([*UP, *STARTED, StopRequested("cancelled"), crashed])
    assert state.processes[3].status is ProcessStatus.FAILED


def test_a_run_whose_helpers_are_cancelled_is_canceled() -> None:
    history = [*UP, *STARTED, TRAINED[0], StopRequested("cancelled"), *STOPPED[1:], *WOUND_UP]
    state, _ = play(history, helpers=HELPERS)
    assert (state.status, state.exit_status) == (RunStatus.CANCELED, ExitStatus.CANCELED)


def test_a_wish_to_stop_that_comes_while_helpers_are_being_stopped_only_hurries() -> None:
    history = [*UP, *STARTED, *TRAINED, StopRequested("Ctrl-C"), StopRequested("Ctrl-C", force=True)]
    state, done = play(history, helpers=HELPERS)
    assert done[-2:] == [(12, StopNode(0, 0.0)), (12, StopNode(1, 0.0))]
    assert state.verdict is RunStatus.COMPLETED


def test_a_helper_that_does_not_go_is_killed_after_the_grace_and_its_node_given_up_after_that() -> None:
    state, _ = play([*UP, *STARTED, *TRAINED, NodeStopped(0)], helpers=HELPERS)
    assert state.wake_at == 10 + 30 + STOP_MARGIN
    state, _ = decide(state, TimePassed(), state.wake_at)
    assert state.exit_status is ExitStatus.NODE_ERROR


def test_the_record_says_why_helpers_are_stopped() -> None:
    old, _ = play([*UP, *STARTED, TRAINED[0]], helpers=HELPERS)
    new, _ = decide(old, TRAINED[1], 10.0)
    told = [happening for happening in events_between(old, new, 10.0) if happening["event"] == "stopping"]
    assert [happening["reason"] for happening in told] == ["all that the run waits for have completed"]


# --- a launcher on node 0 that starts the processes of all nodes -------------------------------------

ONE = Policy(one_launcher=True)


def test_one_launchers_good_end_before_its_processes_reports_spoils_nothing() -> None:
    state, done = play([*UP, *STARTED, LauncherExited(0, 0, None), *COMPLETED], ONE)
    assert done[-2:] == [(13, CollectNode(0)), (13, CollectNode(1))]
    assert state.cause is None
    state, _ = play([*UP, *STARTED, *COMPLETED, LauncherExited(0, 0, None)], ONE)
    assert state.cause is None


def test_one_launcher_that_ends_before_a_node_has_even_reported_a_start_is_given_a_moment() -> None:
    history = [*UP, STARTED[0], STARTED[1], LauncherExited(0, 0, None), COMPLETED[0], COMPLETED[1]]
    state, done = play(history, ONE)
    assert done[-1] == (4, StartProcesses()), "node 1 may still have its say"
    for event in (STARTED[2], COMPLETED[2], STARTED[3], COMPLETED[3]):
        state, done_now = decide(state, event, 7.1)
    assert done_now == (CollectNode(0), CollectNode(1))
    assert state.cause is None


def test_one_launchers_good_end_is_no_success_of_processes_that_never_reported() -> None:
    history = [*UP, *STARTED[:2], *COMPLETED[:2], LauncherExited(0, 0, None), TimePassed(), *WOUND_UP]
    state, _ = play(history, ONE)
    assert (state.status, state.exit_status) == (RunStatus.FAILED, ExitStatus.JOB_FAILED)
    assert state.cause is not None
    assert state.cause.message == "the launcher on node-0 ended before its processes had ended: exit code 0"


def test_an_elastic_runs_torchrun_that_is_killed_takes_its_node_with_it_and_no_more() -> None:
    state, done = play([*UP, *STARTED, LauncherExited(1, None, "SIGKILL")], ELASTIC)
    assert state.phase is Phase.RUNNING and state.nodes[1] is NodeState.LOST
    assert FenceNode(1) in [action for _, action in done]
    state, _ = play([*UP, *STARTED, LauncherExited(0, None, "SIGKILL")], ELASTIC)
    assert state.phase is Phase.STOPPING, "without node 0 they have no place to meet"


def test_a_rank_is_called_what_its_elastic_launcher_calls_it() -> None:
    started: list[Event] = [ProcessStarted(rank, 100 + rank, (rank + 2) % 4) for rank in range(4)]
    state, _ = play([*UP, *started, failed(3)], ELASTIC)
    assert state.cause is not None and state.cause.message == "rank 1 on node-1 failed first: exit code 7"


def test_reports_that_are_later_than_the_moment_given_still_make_it_a_success() -> None:
    history = [*UP, *STARTED, *COMPLETED[:2], LauncherExited(0, 0, None), TimePassed(), *COMPLETED[2:], *WOUND_UP]
    state, _ = play(history, ONE)
    assert (state.status, state.exit_status) == (RunStatus.COMPLETED, ExitStatus.COMPLETED)


def test_a_process_that_failed_takes_the_blame_from_the_one_launcher_that_reported_it() -> None:
    end, report = failed(3), LauncherExited(0, 7, None)
    orders: list[list[Event]] = [[end, report], [report, end], [report, TimePassed(), end]]
    for order in orders:
        state, _ = play([*UP, *STARTED, *order], ONE)
        assert state.cause is not None and state.cause.message == "rank 3 on node-1 failed first: exit code 7"


def test_one_launcher_that_is_killed_is_to_blame_whatever_its_processes_do_of_that() -> None:
    state, _ = play([*UP, *STARTED, LauncherExited(0, None, "SIGKILL"), failed(3, 1)], ONE)
    assert state.cause is not None
    assert state.cause.message == "the launcher on node-0 ended before its processes had ended: killed by SIGKILL"


def test_a_daemon_that_is_killed_is_named_with_its_node() -> None:
    state, _ = play(
        [*UP, *STARTED, LauncherExited(1, None, "SIGKILL", is_daemon=True)], replace(ONE, launcher="mpirun")
    )
    assert state.cause is not None
    assert state.cause.message == "mpirun's daemon on node-1 ended before its processes had ended: killed by SIGKILL"


EARLY = "rank 2 on node-1 ended before the others with exit code 0 (perhaps without MPI_Finalize)"


def test_a_rank_that_ended_well_while_mpirun_did_not_is_named() -> None:
    history = [*UP, *STARTED, COMPLETED[2], LauncherExited(0, 1, None), ended_by_us(0), ended_by_us(1), ended_by_us(3)]
    state, _ = play(history, replace(ONE, launcher="mpirun"))
    assert state.cause is not None
    assert state.cause.message == f"{EARLY}, and mpirun ended the others: exit code 1"


def test_an_mpirun_that_ends_a_rank_and_then_hangs_is_not_waited_for() -> None:
    history: list[Event] = [*UP, *STARTED, COMPLETED[2], ended_by_us(3)]
    state, _ = play(history, replace(ONE, launcher="mpirun"))
    assert state.cause is not None and state.cause.message == f"{EARLY}, and mpirun ended rank 3 on node-1"
    assert state.wake_at is not None
    _, done = decide(state, TimePassed(), state.wake_at)
    assert done == (StopNode(0, 30.0), StopNode(1, 30.0))
    state, _ = play([*history, LauncherExited(0, 9, None), ended_by_us(0), ended_by_us(1)], ONE)
    assert state.phase is Phase.STOPPING


def test_a_rank_that_mpirun_ends_because_another_has_failed_is_not_the_cause() -> None:
    state, _ = play([*UP, *STARTED, ended_by_us(3), failed(2)], ONE)
    assert state.cause is not None and state.cause.message == "rank 2 on node-1 failed first: exit code 7"


def test_one_launcher_that_starts_nothing_stops_the_run_in_a_moment() -> None:
    state, _ = play([*UP, LauncherExited(0, 2, None)], ONE)
    assert state.wake_at == 5 + SETTLE
    state, done = decide(state, TimePassed(), state.wake_at)
    assert done == (StopNode(0, 30.0), StopNode(1, 30.0))
    assert state.cause is not None
    assert state.cause.message == "the launcher on node-0 ended before it started its processes: exit code 2"


# --- random walks -----------------------------------------------------------------------------------


def all_events(nodes: int, ranks: int) -> list[Event]:
    found: list[Event] = [
        TimePassed(),
        RejoinRequested(),
        StopRequested("stop"),
        StopRequested("kill", force=True),
        PreemptionNoticed("its viewer got SIGUSR1", "SIGUSR1"),
        AttemptBegun(),
    ]
    for kind in (CauseClass.USER_ERROR, CauseClass.INFRASTRUCTURE):
        found.append(AttemptJudged(Cause("it failed", ExitStatus.JOB_FAILED, 1.0, 0, kind=kind)))
    for node in range(nodes):
        found += [
            NodeUp(node),
            NodePrepared(node),
            NodeStopped(node),
            NodeCollected(node),
            NodeGone(node),
            NodeFenced(node, is_clean=True),
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


def any_policy(chance: random.Random, nodes: int) -> Policy:
    shapes: list[dict[str, Any]] = [
        {},
        {"launcher_restarts": 1},
        {"one_launcher": True},
        {"min_nodes": chance.randint(1, nodes)},
        {"min_nodes": chance.randint(1, nodes), "launcher_restarts": 1},
    ]
    restarts = chance.choice([Restarts(), Restarts(max=2), Restarts(max=9, backoff=0.0, progress=2.0)])
    early = chance.choice([EarlyExit(), EarlyExit(warn=1.0, fail=20.0)])
    limits: dict[str, Any] = {
        "time_limit": chance.choice([None, 200.0]),
        "preemption_grace": chance.choice([None, 3.0]),
    }
    return Policy(grace=5.0, restarts=restarts, early_exit=early, **limits, **chance.choice(shapes))


def any_run(chance: random.Random) -> tuple[State, list[Event]]:
    """A run of any shape, at its beginning, and all that can happen to it."""
    slots = tuple(chance.randint(1, 3) for _ in range(chance.randint(1, 4)))
    helpers = chance.sample(range(sum(slots)), chance.choice([0, 0, sum(slots) // 2]))
    return first_state(any_policy(chance, len(slots)), slots, 0.0, helpers), all_events(len(slots), sum(slots))


@pytest.mark.parametrize("seed", range(500))
def test_on_a_random_walk_no_state_leaves_its_end_and_every_process_is_accounted_for(seed: int) -> None:
    chance = random.Random(seed)
    (state, choices), now = any_run(chance), 0.0
    policy, ended = state.policy, False
    for _ in range(400):
        now += chance.random() * 3
        old = state
        event = chance.choice(choices)
        state, done = decide(old, event, now)
        if ended:
            assert done == () and state == old, "nothing is done after the end"
        came_back = isinstance(event, RejoinRequested) and policy.min_nodes is not None and old.phase is Phase.RUNNING
        if state.attempt != old.attempt:
            assert_is_over(old)
            assert state.attempt == old.attempt + 1
            continue
        began = isinstance(event, AttemptBegun) and old.attempt > 0 and old.phase is Phase.STARTING
        assert came_back or began or all(map(ge, state.nodes, old.nodes)), "a node only moves forward"
        for before, after in zip(old.processes, state.processes, strict=True):
            restarts = policy.launcher_restarts > 0 and old.phase is Phase.RUNNING
            restarts = restarts or (came_back and after.is_joining)
            assert not before.status.has_ended or after == before or restarts, "an ended process stays ended"
            assert after.ends_run == before.ends_run, "a helper stays one"
        if any(isinstance(action, EndRun) for action in done):
            ended = True
            assert state.status.is_terminal
            assert all(node >= NodeState.GONE for node in state.nodes)
        assert (state.phase is Phase.ENDED) == ended


def assert_is_over(state: State) -> None:
    """See that an attempt may be followed by another: nobody wants the end, and nothing of it is alive anywhere."""
    assert state.phase is Phase.BETWEEN and state.canceled is None and state.cause is not None
    assert all(node in (NodeState.STOPPED, NodeState.LOST) for node in state.nodes)
    assert not state.unfenced, "a lost node may still run what the next attempt starts again"


def likely(chance: random.Random, choices: list[Event], state: State) -> Event:
    """Something that happens, more often than not for the good."""
    bad = (StopRequested, NodeFailed, NodeLost, LauncherExited, RejoinRequested, PreemptionNoticed)
    while True:
        event = chance.choice(choices)
        is_bad = isinstance(event, bad) or (isinstance(event, ProcessExited) and event.exit_code != 0)
        is_bad = is_bad or (isinstance(event, NodeGone) and state.phase is not Phase.RELEASING)
        if not is_bad or chance.random() < 0.004:
            return event


def walked(seed: int) -> State:
    """Give the last state of a random walk on which things mostly go well."""
    chance = random.Random(seed)
    state, choices = any_run(chance)
    for step in range(1000):
        state, _ = decide(state, likely(chance, choices, state), step * 0.02)
    return state


@pytest.mark.parametrize("seed", range(200))
def test_success_always_means_that_every_process_that_counts_reported_exit_code_0(seed: int) -> None:
    state = walked(seed)
    if state.status is RunStatus.COMPLETED:
        assert state.exit_status is ExitStatus.COMPLETED
        counting = [process for process in state.processes if process.ends_run]
        if state.policy.min_nodes is not None:
            counting = [process for process in counting if process.status is not ProcessStatus.LOST]
            counting = [process for process in counting if not process.is_joining]
        assert counting and all(process.exit_code == 0 for process in counting)


def test_random_walks_come_to_good_ends_and_bad_ones() -> None:
    """Else the properties above would say nothing."""
    states = [walked(seed) for seed in range(200)]
    ends = {(state.status, state.policy.one_launcher, state.policy.min_nodes is not None) for state in states}
    for shape in ((False, False), (True, False), (False, True)):
        for status in (RunStatus.COMPLETED, RunStatus.FAILED):
            assert (status, *shape) in ends


def test_random_walks_go_through_several_attempts() -> None:
    """Else the properties above would say nothing of restarts."""
    attempts = [walked(seed).attempt for seed in range(200)]
    assert max(attempts) >= 2 and sum(attempt > 0 for attempt in attempts) >= 10


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
    lost: list[Event] = [NodeLost(1, "did not come up in time"), NodeFenced(1, is_clean=True)]
    state, done = play([NodeUp(0), *lost, NodePrepared(0)], ELASTIC)
    assert done == [(2, FenceNode(1)), (3, PrepareNode(0)), (4, StartProcesses())]
    assert state.phase is Phase.RUNNING


def test_only_an_elastic_run_has_nodes_rejoin() -> None:
    _, done = play([*UP, *STARTED, RejoinRequested()])
    assert not any(isinstance(action, LaunchNode) for _, action in done)
