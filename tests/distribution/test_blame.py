"""Who is to blame when the one that failed is not the first to end: histories and last words as data."""

from __future__ import annotations

import pytest

from regiment.distribution.blame import Tails, reconsidered, said_through_mpirun, unsaid_under_srun
from regiment.distribution.decide import decide
from regiment.distribution.events import LauncherExited, NodePrepared, NodeUp, ProcessExited, ProcessStarted, TimePassed
from regiment.distribution.state import Policy, State, first_state
from regiment.jobs.dataclass import replace
from regiment.jobs.record import ProcessStatus

CLOSED = "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:544] Connection closed by peer [127.0.0.1]:4711"
OWN = ("Traceback (most recent call last):", '  File "train.py", line 9, in <module>', "ValueError: bad batch")
PEER = ("Traceback (most recent call last):", '  File "train.py", line 7, in <module>', CLOSED)


def ended(*ends: tuple[int, int | None, str | None, bool]) -> State:
    """Give the state of two nodes with two processes each after these ends, 10 ms apart."""
    state = first_state(Policy(), (2, 2), 0.0)
    for event in (NodeUp(0), NodeUp(1), NodePrepared(0), NodePrepared(1)):
        state, _ = decide(state, event, 1.0)
    for rank in range(4):
        state, _ = decide(state, ProcessStarted(rank, 100 + rank), 2.0)
    for count, (rank, exit_code, signal, asked) in enumerate(ends):
        now = 3.0 + count / 100
        state, _ = decide(state, ProcessExited(rank, exit_code, signal, asked, now), now)
    return state


def blamed(state: State, tails: Tails) -> str:
    cause = reconsidered(state, tails).cause
    assert cause is not None
    return cause.message


def test_a_rank_that_died_of_a_closed_connection_is_not_blamed_if_another_failed_by_itself() -> None:
    state = ended((2, 1, None, False), (0, 1, None, False), (1, None, "SIGTERM", True))
    assert blamed(state, {2: PEER, 0: OWN}) == "rank 0 on node-0 failed first: exit code 1"


def test_what_an_mpi_rank_says_through_mpirun_counts_as_its_last_words() -> None:
    said = said_through_mpirun(
        (
            "[vm:15667] plm:ssh: Warning: setpgid(15671,15671) failed in parent with errno=Permission denied(13)",
            "[node-0:00000] *** An error occurred in Socket closed",
            "[node-0:00000] *** reported by process [2492858369,0]",
            "[node-0:00000] *** on a NULL communicator",
        )
    )
    assert said == {0: ("An error occurred in Socket closed",)}
    state = ended((0, 14, None, False), (2, 3, None, False))
    assert blamed(state, {**said, 2: ("epoch 3",)}) == "rank 2 on node-1 failed first: exit code 3"


def test_a_peer_that_ended_well_without_a_word_is_named_where_nobody_else_is_to_blame() -> None:
    state = ended((2, 0, None, False), (0, 14, None, False))
    state = replace(state, policy=replace(state.policy, one_launcher=True))
    assert blamed(state, {0: ("An error occurred in Socket closed",)}) == (
        "rank 2 on node-1 ended before the others with exit code 0 (perhaps without MPI_Finalize), "
        "and rank 0 on node-0 failed after that: exit code 14"
    )


def test_an_open_mpi_rank_without_words_is_known_for_a_victim_by_its_exit_code() -> None:
    state = ended((0, 14, None, False), (2, 7, None, False))
    assert unsaid_under_srun(state) == {0: ("An error occurred in Socket closed",)}
    assert blamed(state, unsaid_under_srun(state)) == "rank 2 on node-1 failed first: exit code 7"


def test_one_we_stopped_while_it_was_ending_with_its_own_exception_takes_the_blame() -> None:
    state = ended((2, 1, None, False), (3, 1, None, False), (1, None, "SIGTERM", True), (0, None, "SIGTERM", True))
    state = reconsidered(state, {2: PEER, 3: PEER, 1: OWN, 0: ("epoch 3",)})
    assert state.cause is not None
    assert state.cause.message == "rank 1 on node-0 failed first: ValueError: bad batch"
    assert state.processes[1].status is ProcessStatus.FAILED
    assert state.processes[0].status is ProcessStatus.STOPPED


def test_where_all_are_victims_the_first_to_end_stays_the_cause() -> None:
    state = ended((2, 1, None, False), (0, 1, None, False))
    assert blamed(state, {2: PEER, 0: PEER}) == "rank 2 on node-1 failed first: exit code 1"


def test_the_first_to_end_stays_the_cause_if_its_last_words_are_its_own() -> None:
    state = ended((3, 7, None, False), (0, 1, None, False))
    assert blamed(state, {3: ("bye",), 0: OWN}) == "rank 3 on node-1 failed first: exit code 7"
    assert blamed(state, {}) == "rank 3 on node-1 failed first: exit code 7"


def test_a_rank_killed_from_outside_is_found_behind_its_victims() -> None:
    state = ended((0, 1, None, False), (3, None, "SIGKILL", False))
    assert blamed(state, {0: PEER, 3: ("epoch 3",)}) == "rank 3 on node-1 failed first: killed by SIGKILL"


@pytest.mark.parametrize(
    "line",
    [
        CLOSED,
        "[rank2]: torch.distributed.DistBackendError: NCCL error, ncclRemoteError: A call failed possibly due to ...",
        "  what():  [enforce fail at ...] Connection reset by peer [10.0.0.2]:1",
        "BrokenPipeError: [Errno 32] Broken pipe",
        "ConnectionResetError: [Errno 104] Connection reset by peer",
        "torch.distributed.DistNetworkError: failed to recv, got 0 bytes",
        "RuntimeError: Gloo connectFullMesh failed with ...",
    ],
)
def test_the_last_words_of_victims_are_known(line: str) -> None:
    state = ended((2, 1, None, False), (0, 1, None, False))
    assert "rank 0" in blamed(state, {2: (line, "", "note"), 0: OWN})


def test_an_mpi_rank_that_left_early_is_named_although_it_is_heard_of_last() -> None:
    state = first_state(Policy(launcher="mpirun", one_launcher=True), (2, 2), 0.0)
    for event in (NodeUp(0), NodeUp(1), NodePrepared(0), NodePrepared(1)):
        state, _ = decide(state, event, 1.0)
    for rank in range(4):
        state, _ = decide(state, ProcessStarted(rank, 100 + rank), 2.0)
    for rank, exit_code, signal, asked in ((0, 14, None, True), (2, 0, None, False), (1, None, "SIGTERM", True)):
        state, _ = decide(state, ProcessExited(rank, exit_code, signal, asked, 3.0), 3.0)
    early = "rank 2 on node-1 ended before the others with exit code 0 (perhaps without MPI_Finalize)"
    assert blamed(state, {}) == f"{early}, and mpirun ended rank 0 on node-0 of its own accord"


def test_a_cancelled_run_and_a_good_one_are_left_alone() -> None:
    state = replace(ended(), canceled="Ctrl-C")
    assert reconsidered(state, {0: PEER}) == state


def test_of_those_that_mpirun_ended_the_one_with_an_exception_takes_the_blame() -> None:
    state = ended((0, None, "SIGTERM", True), (1, None, "SIGKILL", True), (3, None, "SIGTERM", True))
    state = replace(state, policy=replace(state.policy, one_launcher=True))
    state, _ = decide(state, LauncherExited(0, 1, None), 4.0)
    state, _ = decide(state, TimePassed(), 5.0)
    assert state.cause is not None and state.cause.is_report
    assert blamed(state, {1: OWN, 0: ("epoch 3",)}) == "rank 1 on node-0 failed first: ValueError: bad batch"
    words = "the launcher on node-0 ended before its processes had ended: exit code 1"
    assert blamed(state, {1: ("epoch 3",)}) == words
