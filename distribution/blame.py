"""Which of several failures came first in truth, when the order of their ends does not tell.

A rank that raises often closes its connections (in a `finally`, or while Python shuts down) before it ends.
Its peers then die of the closed connection, and may end sooner. Their last words give them away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus

from .decide.words import called, failure_message, left_early
from .state import Cause, State

_PEER_GONE = re.compile(
    r"connection (was )?(closed|reset|refused|aborted)|broken pipe|socket (has been )?closed|connectFullMesh"
    r"|remote (process|peer)? ?(has )?(exited|closed)|ncclRemoteError|ncclSystemError|recvValue failed|sendBytes failed"
    r"|DistNetworkError|DistStoreError",
    re.IGNORECASE,
)
"""What Gloo, NCCL, PyTorch's store and sockets say when the other side has gone."""
_EXCEPTION = re.compile(
    r"^(?:\[rank\d+\]:\s*)?((?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit|Warning|Failure)\b.*"
    r"|what\(\):.*|An error occurred in .*)$"
)
"""The line that ends a Python traceback, or what C++ or Open MPI says of an error that nobody handled."""
_MPI_ERROR = re.compile(r"\*\*\* (An error occurred in .*)")
_MPI_PEER_GONE = "An error occurred in Socket closed"
_MPI_ERR_UNKNOWN = 14
"""The exit code of an Open MPI rank that has lost a peer (mpi.h)."""
_MPI_RANK = re.compile(r"\*\*\* reported by process \[\d+,(\d+)\]")

Tails = Mapping[int, tuple[str, ...]]
"""The last lines of logs, by rank."""


def suspects(state: State) -> tuple[int, ...]:
    """Give the ranks whose last words are worth reading: those that failed, and those we stopped after that."""
    if state.cause is None or (state.cause.rank is None and not state.cause.is_report):
        return ()
    wanted = (ProcessStatus.FAILED, ProcessStatus.STOPPED)
    return tuple(rank for rank, process in enumerate(state.processes) if process.status in wanted)


def said_through_mpirun(log: tuple[str, ...]) -> Tails:
    """Give the errors that Open MPI's ranks don't print themselves, but have mpirun print in its own log."""
    words: dict[int, tuple[str, ...]] = {}
    error = None
    for line in log:
        if found := _MPI_ERROR.search(line):
            error = found[1]
        elif (found := _MPI_RANK.search(line)) and error is not None:
            words[int(found[1])] = (error,)
    return words


def unsaid_under_srun(state: State) -> Tails:
    """Give what Open MPI's ranks say of a lost peer: Slurm's PMIx passes it on to nobody, and only the code is left."""
    lost = (rank for rank in suspects(state) if state.processes[rank].exit_code == _MPI_ERR_UNKNOWN)
    return dict.fromkeys(lost, (_MPI_PEER_GONE,))


def reconsidered(state: State, tails: Tails) -> State:
    """Give the state with the blame where the logs put it; as it was where they say nothing against that."""
    cause = state.cause
    if cause is None or (cause.rank is None and not cause.is_report):
        return state
    if cause.rank is not None and not _is_victim(tails.get(cause.rank, ())):
        return state
    failed = [rank for rank in suspects(state) if state.processes[rank].status is ProcessStatus.FAILED]
    stopped = [rank for rank in suspects(state) if state.processes[rank].status is ProcessStatus.STOPPED]
    for ranks in (failed, stopped):
        # Of those that failed by themselves any but a victim will do; of those we stopped only one that was
        # about to end with an exception of its own.
        words = {rank: tails.get(rank, ()) for rank in ranks if not _is_victim(tails.get(rank, ()))}
        # Where the launcher ended all (as mpirun does for MPI_Abort) each was asked, whoever it was that failed.
        guilty = [rank for rank, tail in words.items() if ranks is failed or _exception(tail)]
        if guilty:
            return _blame(state, min(guilty, key=lambda rank: state.processes[rank].ended_at or 0.0), tails)
    early = left_early(state)
    if early is not None and cause.rank is not None:
        # A peer that ends well without a word to the others is gone for them as one that has failed.
        failure = failure_message(state, cause.rank, state.processes[cause.rank], is_first=False)
        return replace(state, cause=replace(cause, message=f"{early}, and {failure}"))
    if early is not None and cause.is_report and early not in cause.message:
        # The one that left was the last to be heard of: its node is not the one that had the first end to report.
        return replace(state, cause=replace(cause, message=f"{early}, and {cause.message}"))
    return state


def _blame(state: State, rank: int, tails: Tails) -> State:
    process = state.processes[rank]
    message = failure_message(state, rank, process)
    if process.status is ProcessStatus.STOPPED:
        message = f"{called(rank, process)} failed first: {_exception(tails[rank])}"
        process = replace(process, status=ProcessStatus.FAILED)
    cause = Cause(message, ExitStatus.JOB_FAILED, process.ended_at or 0.0, process.node, rank)
    return replace(state, processes=state.processes.changed(rank, process), cause=cause)


def _is_victim(tail: tuple[str, ...]) -> bool:
    exception = _exception(tail)
    return exception is not None and _PEER_GONE.search(exception) is not None


def _exception(tail: tuple[str, ...]) -> str | None:
    """Give the last line of the last traceback in a log's last lines."""
    for line in reversed(tail):
        found = _EXCEPTION.match(line.strip())
        if found:
            return found[1]
    return None
