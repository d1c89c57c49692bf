"""What is said of processes and launchers that ended: one line each, for people."""

from __future__ import annotations

from regiment.jobs.record import ProcessStatus

from ..events import LauncherExited
from ..state import Process, State


def called(rank: int, process: Process) -> str:
    """Give the words for a process: its rank, in an elastic run the one it has at present, and its node."""
    return f"rank {rank if process.given_rank is None else process.given_rank} on node-{process.node}"


def failure_message(state: State, rank: int, process: Process, *, is_first: bool = True) -> str:
    """Say in one line which process failed (first) and how."""
    alone = state.policy.world_size == 1
    who = "the process" if alone else called(rank, process)
    what = "failed" if alone else "failed first" if is_first else "failed after that"
    return f"{who} {what}: {how_it_ended(process.exit_code, process.signal)}"


def how_it_ended(exit_code: int | None, signal: str | None) -> str:
    """Say in words how a process ended."""
    if signal:
        return f"killed by {signal}"
    return f"exit code {exit_code}" if exit_code is not None else "nobody saw how it ended"


def left_early(state: State) -> str | None:
    """Name the ranks of an MPI job that have ended well while others have not, which only some may do."""
    done = [called(rank, p) for rank, p in enumerate(state.processes) if p.status is ProcessStatus.COMPLETED]
    if not done or not state.policy.one_launcher:
        return None
    return f"{' and '.join(done[:2])} ended before the others with exit code 0 (perhaps without MPI_Finalize)"


def launcher_message(state: State, event: LauncherExited, own: list[Process]) -> str:
    """Say in a few words what is wrong about a launcher's end."""
    launcher = state.policy.launcher
    who = f"{launcher}'s daemon" if event.is_daemon else launcher
    if all(p.status is ProcessStatus.NOT_STARTED for p in own):
        return f"{who} on node-{event.node} ended before it started its processes"
    early = left_early(state)
    if event.exit_code and early:
        return f"{early}, and {who} ended the others"
    return f"{who} on node-{event.node} ended before its processes had ended"
