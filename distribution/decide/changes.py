"""The small changes that decisions are made of, and what they are made after looking at."""

from __future__ import annotations

from regiment.jobs.dataclass import replace
from regiment.jobs.record import ProcessStatus

from ..actions import Action, AwaitEnd
from ..state import NodeState, Process, State

Decision = tuple[State, tuple[Action, ...]]


def any_running(state: State) -> bool:
    """Say whether a process of the run runs."""
    return state.has_process(lambda kind: kind.status is ProcessStatus.RUNNING)


def alive(state: State, before: NodeState) -> tuple[int, ...]:
    """Give the nodes that have not come as far as `before` and are not lost."""
    return tuple(i for i, node in enumerate(state.nodes) if node < before)


def any_alive(state: State, before: NodeState) -> bool:
    """Say whether there are such nodes, without looking at each."""
    return any(node < before for node in state.nodes.counts)


def taken_away(state: State) -> State:
    """Give the state of a run that ends because of a notice; as it was where it ends for another reason."""
    if state.preempting is None or state.canceled is not None or state.cause is not None:
        return state
    return replace(state, canceled=f"preempted: {state.preempting}", is_preempted=True)


def in_force(state: State, now: float) -> State:
    """Give the state without the leases that are over by now."""
    return replace(state, leases=tuple(lease for lease in state.leases if lease.until > now)) if state.leases else state


def forget_lease(state: State, node: int) -> State:
    """Give the state of a run that knows a lost node to run nothing any more."""
    return replace(state, leases=tuple(lease for lease in state.leases if lease.node != node))


def awaited_ends(state: State) -> Decision:
    """Have it said once what is waited for, while lost nodes may still run something."""
    untold = tuple(lease for lease in state.leases if not lease.is_told)
    told = tuple(replace(lease, is_told=True) for lease in state.leases)
    return replace(state, leases=told), tuple(AwaitEnd(lease.node, lease.until) for lease in untold)


def with_node(state: State, index: int, node: NodeState) -> State:
    """Give the state with one node's state changed."""
    return replace(state, nodes=state.nodes.changed(index, node))


def with_process(state: State, rank: int, process: Process) -> State:
    """Give the state with one process changed."""
    return replace(state, processes=state.processes.changed(rank, process))
