"""The ends of processes and launchers: who failed first, and when the others are stopped for it."""

from __future__ import annotations

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus

from ..events import LauncherExited, NodeLost, ProcessExited
from ..state import Cause, NodeState, Phase, Process, ProcessKind, State
from .changes import Decision, taken_away, with_node, with_process
from .early import watched
from .nodes import can_do_without, node_lost
from .stopping import complete, stop
from .words import called, failure_message, how_it_ended, launcher_message, left_early

SETTLE = 0.15
"""Seconds between the first failure and the stop: one that failed a moment before, and is only slower to end,
ends by itself in them, so that the blame can go where it belongs."""
LAUNCHERS_TIME = 2.0
"""Seconds that mpirun, which has begun to end the ranks by itself, has to come to its end; MPICH's may not."""
_CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGSYS"})


def process_exited(state: State, event: ProcessExited, now: float) -> Decision:
    """Take down how a process ended; the first that failed ends the others."""
    process = state.processes[event.rank]
    if process.status.has_ended:
        return state, ()
    if state.phase is Phase.RUNNING and process.ends_run:
        state = taken_away(state)
    status = _ended_status(state, event)
    state = with_process(
        state,
        event.rank,
        replace(process, status=status, exit_code=event.exit_code, signal=event.signal, ended_at=now),
    )
    if status is ProcessStatus.FAILED:
        state = _blame_process(state, event, process)
        if state.phase is Phase.RUNNING and state.policy.launcher_restarts == 0:
            state = _settled_by(state, now + SETTLE)
    elif status is ProcessStatus.CANCELED and state.phase is Phase.RUNNING:
        state = _settled_by(state, now + SETTLE)  # It was told of a preemption, and may be missed by the others.
    elif status is ProcessStatus.STOPPED and state.policy.one_launcher and state.phase is Phase.RUNNING:
        state = _launcher_ends_all(state, event, process, now)
    if state.is_complete and state.cause is not None and state.cause.is_report:
        # The last word was late: all have ended well, and by themselves.
        state = replace(state, cause=None)
    if state.phase is not Phase.RUNNING:
        return state, ()
    if state.is_complete:
        return complete(state, now)
    if state.settled_at is not None and _is_all_told(state):
        return stop(state, now)
    return watched(state, now), ()


def _settled_by(state: State, at: float) -> State:
    return replace(state, settled_at=at if state.settled_at is None else min(state.settled_at, at))


def _launcher_ends_all(state: State, event: ProcessExited, process: Process, now: float) -> State:
    """Take it that the job is over when mpirun has ended a rank that nobody asked it to end."""
    if state.cause is None:
        what = f"{state.policy.launcher} ended {called(event.rank, process)}"
        early = left_early(state)
        message = f"{early}, and {what}" if early else f"{what} of its own accord"
        state = replace(state, cause=Cause(message, ExitStatus.JOB_FAILED, now, 0, is_report=True))
    return _settled_by(state, now + LAUNCHERS_TIME)


def _is_all_told(state: State) -> bool:
    """Say whether no process can still report its end."""
    return not state.has_process(lambda kind: not kind.status.has_ended and not _may_never_start(state, kind))


def _may_never_start(state: State, process: ProcessKind) -> bool:
    # One launcher's processes report through their own nodes, each in its own time.
    return process.status is ProcessStatus.NOT_STARTED and not state.policy.one_launcher


def _ended_status(state: State, event: ProcessExited) -> ProcessStatus:
    # Once a run is cancelled, what fails may have lost a peer that was stopped a moment before it.
    follows = state.canceled is not None and event.exit_code != 0
    if (event.asked or follows) and event.signal not in _CRASHES:
        return ProcessStatus.CANCELED if state.canceled is not None else ProcessStatus.STOPPED
    return ProcessStatus.COMPLETED if event.exit_code == 0 else ProcessStatus.FAILED


def _blame_process(state: State, event: ProcessExited, process: Process) -> State:
    """Make this failure the cause if it is the earliest; events of two nodes may arrive out of order.

    How the others end does not matter once all that the run waits for have completed.
    """
    if state.canceled is not None or state.is_complete or not _is_earliest(event, state.cause):
        return state
    ended = replace(process, exit_code=event.exit_code, signal=event.signal)
    message = failure_message(state, event.rank, ended)
    return replace(state, cause=Cause(message, ExitStatus.JOB_FAILED, event.at, process.node, event.rank))


def _is_earliest(event: ProcessExited, cause: Cause | None) -> bool:
    if cause is None or cause.is_report:
        return True
    return cause.rank is not None and event.at < cause.at


def launcher_exited(state: State, event: LauncherExited, now: float) -> Decision:
    """Take it that a launcher which ended before its processes has failed."""
    if state.phase is not Phase.RUNNING:
        return state, ()
    ranks = range(len(state.processes)) if state.policy.one_launcher else state.ranks_of(event.node)
    own = [state.processes[rank] for rank in ranks]
    if all(p.status is ProcessStatus.COMPLETED or p.is_joining for p in own):
        return state, ()
    if event.signal is not None and can_do_without(with_node(state, event.node, NodeState.LOST), event.node):
        # What is left on this node has nobody to meet the others with: it is as good as lost.
        return node_lost(state, NodeLost(event.node, f"has lost its {state.policy.launcher}"), now)
    state = taken_away(state)
    if state.cause is None and state.canceled is None:
        message = f"{launcher_message(state, event, own)}: {how_it_ended(event.exit_code, event.signal)}"
        cause = Cause(message, ExitStatus.JOB_FAILED, now, event.node, is_report=event.signal is None)
        state = replace(state, cause=cause)
    if state.policy.one_launcher and not _is_all_told(state):
        # What the nodes have to say of their processes may still be on its way.
        return _settled_by(state, now + SETTLE), ()
    return stop(state, now)
