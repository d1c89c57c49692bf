"""Who does what where: the tasks of a job's nodes, from which ranks follow."""

from __future__ import annotations

from dataclasses import dataclass

from regiment.jobs.errors import UserError
from regiment.jobs.placement import Placement
from regiment.jobs.spec import JobSpec, Mpi, PyTorch, StopWhen, TensorFlow


@dataclass(frozen=True)
class Task:
    """What one process is for."""

    type: str
    """`rank`, or TensorFlow's `chief`, `worker`, `ps` or `evaluator`."""
    index: int
    """Its number among those of its type."""


NodeTasks = tuple[tuple[Task, ...], ...]
"""The tasks of each node, in the order of their local ranks."""


def node_tasks(spec: JobSpec) -> NodeTasks:
    """Give every node's tasks; ranks follow from them, node by node."""
    nodes = spec.instance_count
    match spec.distribution:
        case TensorFlow():
            return _tensorflow_tasks(spec.distribution, nodes)
        case PyTorch(process_count_per_instance=int(count)) | Mpi(process_count_per_instance=count):
            return rank_tasks((count,) * nodes)
        case _:
            return rank_tasks((1,) * nodes)


def placed_tasks(spec: JobSpec, placement: Placement) -> NodeTasks:
    """Give every node's tasks where the placement has already said how many each node has."""
    if isinstance(spec.distribution, TensorFlow):
        return _tensorflow_tasks(spec.distribution, len(placement.nodes))
    return rank_tasks(tuple(node.slots for node in placement.nodes))


def rank_tasks(slots: tuple[int, ...]) -> NodeTasks:
    """Give the tasks of nodes with that many processes each that are all alike."""
    tasks = []
    first = 0
    for count in slots:
        tasks.append(tuple(Task("rank", rank) for rank in range(first, first + count)))
        first += count
    return tuple(tasks)


def _tensorflow_tasks(distribution: TensorFlow, nodes: int) -> NodeTasks:
    """Spread workers evenly and in order, so that ranks and workers count the same way; the rest fills up."""
    workers, servers = distribution.worker_count, distribution.parameter_server_count
    total = distribution.task_count
    if total < nodes:
        raise UserError(
            f"{total} TensorFlow tasks ({workers} workers, {servers} parameter servers) leave {nodes - total} of "
            f"{nodes} nodes with nothing to do; ask for fewer nodes, or for more workers"
        )
    placed: list[list[Task]] = [[] for _ in range(nodes)]
    if distribution.chief:
        placed[0].append(Task("chief", 0))
    # The chief counts as one more worker before the first: shares are even with it, and the order stays.
    trainers = workers + distribution.chief
    for index in range(workers):
        placed[(index + distribution.chief) * nodes // trainers].append(Task("worker", index))
    for index in range(servers):
        _least_busy(placed).append(Task("ps", index))
    if distribution.evaluator:
        _least_busy(placed).append(Task("evaluator", 0))
    return tuple(tuple(tasks) for tasks in placed)


def _least_busy(placed: list[list[Task]]) -> list[Task]:
    return min(placed, key=len)


def counts_for_end(task: Task, distribution: TensorFlow, stop_when: StopWhen | None) -> bool:
    """Say whether a run is complete only when this task is; the others are stopped then."""
    wanted = stop_when or (StopWhen.CHIEF if distribution.chief else StopWhen.WORKERS)
    match wanted:
        case StopWhen.ALL:
            return True
        case StopWhen.WORKERS:
            return task.type in ("chief", "worker")
        case StopWhen.CHIEF:
            return task == Task("chief" if distribution.chief else "worker", 0)
