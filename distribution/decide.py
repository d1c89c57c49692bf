"""What to do about what happened: all policy of a run, with no effects.

`decide(state, event, now)` gives the next state and the actions for the coordinator to perform. The
coordinator feeds it every event in order and calls it with `TimePassed` when `state.wake_at` has come.
`now` is the coordinator's monotonic clock in seconds; no other machine's clock is ever compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus

from .actions import (
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
from .events import (
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
from .state import BEFORE_END, Cause, NodeState, Phase, Process, State

SETTLE = 0.15
"""Seconds between the first failure and the stop: one that failed a moment before, and is only slower to end,
ends by itself in them, so that the blame can go where it belongs."""
LAUNCHERS_TIME = 2.0
"""Seconds that mpirun, which has begun to end the ranks by itself, has to come to its end; MPICH's may not."""
STOP_MARGIN = 10.0
"""Seconds after the grace in which a node has to prove its processes dead before it counts as lost."""
RELEASE_LIMIT = 15.0
"""Seconds an agent may take to go after it was released."""

Decision = tuple[State, tuple[Action, ...]]


def decide(state: State, event: Event, now: float) -> Decision:
    """Give the next state of a run and what to do now."""
    if state.phase is Phase.ENDED:
        return state, ()
    return _RULES[type(event)](state, event, now)


# --- the way up -------------------------------------------------------------------------------------


def _node_up(state: State, event: NodeUp, now: float) -> Decision:
    if state.nodes[event.node] is not NodeState.STARTING:
        return state, ()
    state = _with_node(state, event.node, NodeState.UP)
    if state.phase is Phase.RUNNING:
        return state, (PrepareNode(event.node),)
    return _move_up(state)


def _node_prepared(state: State, event: NodePrepared, now: float) -> Decision:
    if state.nodes[event.node] is not NodeState.UP:
        return state, ()
    if state.phase is Phase.RUNNING:
        return _with_node(state, event.node, NodeState.PREPARED), (StartNodeProcesses(event.node),)
    if state.phase is not Phase.PREPARING:
        return state, ()
    return _move_up(_with_node(state, event.node, NodeState.PREPARED))


def _move_up(state: State) -> Decision:
    """Move on if all nodes (of an elastic run: all that were not lost) have come as far as this phase wants them."""
    present = [i for i, node in enumerate(state.nodes) if node is not NodeState.LOST]
    if state.phase is Phase.STARTING and all(state.nodes[i] is NodeState.UP for i in present):
        state = replace(state, phase=Phase.PREPARING, patience_until=None)
        return state, tuple(PrepareNode(i) for i in present)
    if state.phase is Phase.PREPARING and all(state.nodes[i] is NodeState.PREPARED for i in present):
        return replace(state, phase=Phase.RUNNING), (StartProcesses(),)
    return state, ()


def _rejoin_requested(state: State, event: RejoinRequested, now: float) -> Decision:
    """Bring lost nodes back; a run that needs all its nodes has ended when one is lost."""
    if state.policy.min_nodes is None or state.phase is not Phase.RUNNING:
        return state, ()
    lost = [i for i, node in enumerate(state.nodes) if node is NodeState.LOST]
    for node in lost:
        state = _with_node(state, node, NodeState.STARTING)
    fresh = tuple(Process(p.node, is_joining=True) if p.node in lost else p for p in state.processes)
    return replace(state, processes=fresh), tuple(LaunchNode(node) for node in lost)


def _process_started(state: State, event: ProcessStarted, now: float) -> Decision:
    process = state.processes[event.rank]
    may_start = process.status is ProcessStatus.NOT_STARTED or (
        process.status.has_ended and state.policy.launcher_restarts > 0 and state.phase is Phase.RUNNING
    )
    if not may_start:
        return state, ()
    fresh = Process(
        process.node,
        ProcessStatus.RUNNING,
        event.pid,
        given_rank=event.given_rank,
        started_at=now,
        ends_run=process.ends_run,
    )
    # torchrun's own restart: what failed in its last round is no longer what decides.
    cause = None if process.status.has_ended else state.cause
    return replace(_with_process(state, event.rank, fresh), cause=cause), ()


# --- the ends of processes --------------------------------------------------------------------------


def _process_exited(state: State, event: ProcessExited, now: float) -> Decision:
    process = state.processes[event.rank]
    if process.status.has_ended:
        return state, ()
    status = _ended_status(state, event)
    state = _with_process(
        state,
        event.rank,
        replace(process, status=status, exit_code=event.exit_code, signal=event.signal, ended_at=now),
    )
    if status is ProcessStatus.FAILED:
        state = _blame_process(state, event, process)
        if state.phase is Phase.RUNNING and state.policy.launcher_restarts == 0:
            state = _settled_by(state, now + SETTLE)
    elif status is ProcessStatus.STOPPED and state.policy.one_launcher and state.phase is Phase.RUNNING:
        state = _launcher_ends_all(state, event, process, now)
    if state.is_complete and state.cause is not None and state.cause.is_report:
        # The last word was late: all have ended well, and by themselves.
        state = replace(state, cause=None)
    if state.phase is not Phase.RUNNING:
        return state, ()
    if state.is_complete:
        return _complete(state, now)
    if state.settled_at is not None and _is_all_told(state):
        return _stop(state, now)
    return state, ()


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


def left_early(state: State) -> str | None:
    """Name the ranks of an MPI job that have ended well while others have not, which only some may do."""
    done = [called(rank, p) for rank, p in enumerate(state.processes) if p.status is ProcessStatus.COMPLETED]
    if not done or not state.policy.one_launcher:
        return None
    return f"{' and '.join(done[:2])} ended before the others with exit code 0 (perhaps without MPI_Finalize)"


def _is_all_told(state: State) -> bool:
    """Say whether no process can still report its end."""
    return all(p.status.has_ended or _may_never_start(state, p) for p in state.processes)


def _may_never_start(state: State, process: Process) -> bool:
    # One launcher's processes report through their own nodes, each in its own time.
    return process.status is ProcessStatus.NOT_STARTED and not state.policy.one_launcher


def _complete(state: State, now: float) -> Decision:
    """Go on to the outputs; what the run does not wait for, and never ends by itself, is stopped before."""
    state = replace(state, cause=None, settled_at=None)
    is_more_there = _any_running(state) or any(process.is_joining for process in state.processes)
    return _stop(state, now) if is_more_there else _collect(state, now)


_CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGSYS"})


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


def _launcher_exited(state: State, event: LauncherExited, now: float) -> Decision:
    if state.phase is not Phase.RUNNING:
        return state, ()
    own = [p for p in state.processes if state.policy.one_launcher or p.node == event.node]
    if all(p.status is ProcessStatus.COMPLETED or p.is_joining for p in own):
        return state, ()
    if event.signal is not None and _can_do_without(_with_node(state, event.node, NodeState.LOST), event.node):
        # What is left on this node has nobody to meet the others with: it is as good as lost.
        return _node_lost(state, NodeLost(event.node, f"has lost its {state.policy.launcher}"), now)
    if state.cause is None:
        message = f"{_launcher_message(state, event, own)}: {how_it_ended(event.exit_code, event.signal)}"
        cause = Cause(message, ExitStatus.JOB_FAILED, now, event.node, is_report=event.signal is None)
        state = replace(state, cause=cause)
    if state.policy.one_launcher and not _is_all_told(state):
        # What the nodes have to say of their processes may still be on its way.
        return _settled_by(state, now + SETTLE), ()
    return _stop(state, now)


def _launcher_message(state: State, event: LauncherExited, own: list[Process]) -> str:
    launcher = state.policy.launcher
    who = f"{launcher}'s daemon" if event.is_daemon else launcher
    if all(p.status is ProcessStatus.NOT_STARTED for p in own):
        return f"{who} on node-{event.node} ended before it started its processes"
    early = left_early(state)
    if event.exit_code and early:
        return f"{early}, and {who} ended the others"
    return f"{who} on node-{event.node} ended before its processes had ended"


# --- the ends of nodes ------------------------------------------------------------------------------


def _node_failed(state: State, event: NodeFailed, now: float) -> Decision:
    state = _blame_node(state, event.node, event.reason, now)
    return _stop(state, now) if state.phase in BEFORE_END else (state, ())


def _node_lost(state: State, event: NodeLost, now: float) -> Decision:
    if state.nodes[event.node] in (NodeState.GONE, NodeState.LOST):
        return state, ()
    state = _with_node(state, event.node, NodeState.LOST)
    state = replace(state, processes=tuple(_lost(p, now) if p.node == event.node else p for p in state.processes))
    fence = (FenceNode(event.node),)
    if _can_do_without(state, event.node):
        state, actions = _go_on_without(state, now)
        return state, fence + actions
    state = _blame_node(state, event.node, event.reason, now)
    state, actions = _stop(state, now) if state.phase in BEFORE_END else _settle(state, now)
    return state, fence + actions


def _can_do_without(state: State, node: int) -> bool:
    """Say whether an elastic run goes on; its processes meet in a store on node 0, so never without that one."""
    fewest, present = state.policy.min_nodes, len(state.nodes) - state.nodes.count(NodeState.LOST)
    return state.phase in BEFORE_END and fewest is not None and node != 0 and present >= fewest


def _go_on_without(state: State, now: float) -> Decision:
    if state.phase is Phase.RUNNING and state.is_complete:
        return _complete(state, now)
    return _move_up(state)


def _lost(process: Process, now: float) -> Process:
    if process.status is not ProcessStatus.RUNNING:
        return process
    return replace(process, status=ProcessStatus.LOST, ended_at=now)


def _blame_node(state: State, node: int, reason: str, now: float) -> State:
    # Once the outputs are in (or the run was ended for another reason) a node's end changes nothing.
    if state.cause is not None or state.canceled is not None or state.phase is Phase.RELEASING:
        return state
    return replace(state, cause=Cause(f"node-{node} {reason}", ExitStatus.NODE_ERROR, now, node))


def _node_stopped(state: State, event: NodeStopped, now: float) -> Decision:
    if state.nodes[event.node] >= NodeState.STOPPED or state.phase is not Phase.STOPPING:
        return state, ()
    return _settle(_with_node(state, event.node, NodeState.STOPPED), now)


def _node_collected(state: State, event: NodeCollected, now: float) -> Decision:
    if state.nodes[event.node] >= NodeState.COLLECTED or state.phase is not Phase.COLLECTING:
        return state, ()
    return _settle(_with_node(state, event.node, NodeState.COLLECTED), now)


def _node_gone(state: State, event: NodeGone, now: float) -> Decision:
    if state.phase is not Phase.RELEASING and state.nodes[event.node] is not NodeState.LOST:
        return _node_lost(state, NodeLost(event.node, "ended before its work was done"), now)
    if state.nodes[event.node] is NodeState.LOST:
        return state, ()
    return _settle(_with_node(state, event.node, NodeState.GONE), now)


# --- the user's wish, and time ----------------------------------------------------------------------


def _stop_requested(state: State, event: StopRequested, now: float) -> Decision:
    if event.force and not state.forced:
        state = replace(state, forced=True)
        if state.phase in (Phase.STOPPING, Phase.COLLECTING):
            return _hurry(state, event, now)
    if state.phase is Phase.STOPPING and event.grace is not None:
        return _shorten(state, event.grace, now)
    if state.phase not in BEFORE_END:
        return state, ()
    if state.cause is None:
        state = replace(state, canceled=event.reason)
    return _stop(state, now, event.grace)


def _shorten(state: State, grace: float, now: float) -> Decision:
    """Give processes that are being stopped less time than they had."""
    if state.kill_at is None or state.kill_at <= now + grace:
        return state, ()
    state = replace(state, kill_at=now + grace, patience_until=now + grace + STOP_MARGIN)
    return state, tuple(StopNode(node, grace) for node in _alive(state, NodeState.STOPPED))


def _hurry(state: State, event: StopRequested, now: float) -> Decision:
    if state.phase is Phase.COLLECTING:
        if state.cause is None and state.canceled is None:
            state = replace(state, canceled=f"{event.reason} while outputs were being collected")
        return _release(state, now)
    state = replace(state, kill_at=now, patience_until=now + STOP_MARGIN)
    return state, tuple(StopNode(node, 0.0) for node in _alive(state, NodeState.STOPPED))


def _time_passed(state: State, event: TimePassed, now: float) -> Decision:
    limit = state.policy.time_limit
    if limit is not None and state.phase in BEFORE_END and now >= state.started_at + limit:
        return _stop_requested(state, StopRequested(f"time limit of {limit:g} s reached"), now)
    if state.settled_at is not None and state.phase is Phase.RUNNING and now >= state.settled_at:
        return _stop(state, now)
    if state.patience_until is None or now < state.patience_until:
        return state, ()
    reason, wanted = _WAITED_FOR[state.phase]
    state = replace(state, patience_until=None)
    actions: tuple[Action, ...] = ()
    for node in _alive(state, wanted):
        state, more = _node_lost(state, NodeLost(node, reason), now)
        actions += more
    return state, actions


_WAITED_FOR = {
    Phase.STARTING: ("did not come up in time", NodeState.UP),
    Phase.STOPPING: ("could not prove its processes dead in time", NodeState.STOPPED),
    Phase.RELEASING: ("did not end in time", NodeState.GONE),
}
"""For each phase with a time limit of its own: what is said of nodes that miss it, and the state they missed."""


# --- moving on --------------------------------------------------------------------------------------


def _stop(state: State, now: float, grace: float | None = None) -> Decision:
    """End all processes everywhere."""
    grace = 0.0 if state.forced else min(state.policy.grace, grace if grace is not None else state.policy.grace)
    aborted = [i for i, node in enumerate(state.nodes) if node is NodeState.STARTING]
    state = replace(state, phase=Phase.STOPPING, kill_at=now + grace, patience_until=now + grace + STOP_MARGIN)
    for node in aborted:
        state = _with_node(state, node, NodeState.LOST)
    actions: tuple[Action, ...] = tuple(FenceNode(node) for node in aborted)
    actions += tuple(StopNode(node, grace) for node in _alive(state, NodeState.STOPPED))
    state, more = _settle(state, now)
    return state, actions + more


def _settle(state: State, now: float) -> Decision:
    """Move to the next phase if every node that still lives has done its part of this one."""
    if state.phase is Phase.STOPPING and not _alive(state, NodeState.STOPPED):
        return _collect(state, now)
    if state.phase is Phase.COLLECTING and not _alive(state, NodeState.COLLECTED):
        return _release(state, now)
    if state.phase is Phase.RELEASING and not _alive(state, NodeState.GONE):
        return replace(state, phase=Phase.ENDED, patience_until=None), (EndRun(),)
    return state, ()


def _collect(state: State, now: float) -> Decision:
    nodes = _alive(state, NodeState.COLLECTED)
    state = replace(state, phase=Phase.COLLECTING, kill_at=None, patience_until=None)
    if state.forced or not nodes:
        return _release(state, now)
    return state, tuple(CollectNode(node) for node in nodes)


def _release(state: State, now: float) -> Decision:
    nodes = _alive(state, NodeState.GONE)
    state = replace(state, phase=Phase.RELEASING, patience_until=now + RELEASE_LIMIT)
    state, more = _settle(state, now)
    return state, tuple(ReleaseNode(node) for node in nodes) + more


def _any_running(state: State) -> bool:
    return any(process.status is ProcessStatus.RUNNING for process in state.processes)


def _alive(state: State, before: NodeState) -> tuple[int, ...]:
    """Give the nodes that have not come as far as `before` and are not lost."""
    return tuple(i for i, node in enumerate(state.nodes) if node < before)


def _with_node(state: State, index: int, node: NodeState) -> State:
    return replace(state, nodes=(*state.nodes[:index], node, *state.nodes[index + 1 :]))


def _with_process(state: State, rank: int, process: Process) -> State:
    return replace(state, processes=(*state.processes[:rank], process, *state.processes[rank + 1 :]))


_RULES: Mapping[type[Any], Callable[[State, Any, float], Decision]] = {
    NodeUp: _node_up,
    NodePrepared: _node_prepared,
    NodeFailed: _node_failed,
    NodeLost: _node_lost,
    ProcessStarted: _process_started,
    ProcessExited: _process_exited,
    LauncherExited: _launcher_exited,
    NodeStopped: _node_stopped,
    NodeCollected: _node_collected,
    NodeGone: _node_gone,
    StopRequested: _stop_requested,
    RejoinRequested: _rejoin_requested,
    TimePassed: _time_passed,
}
