"""Who does what where: the tasks of a job's nodes, from which ranks follow."""

from __future__ import annotations

from itertools import accumulate, pairwise

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import UserError
from regiment.jobs.spec import Distribution, JobSpec, Mpi, PyTorch, StopWhen, TensorFlow


@dataclass(frozen=True)
class Task:
    """What one process is for."""

    type: str
    """`rank`, or TensorFlow's `chief`, `worker`, `ps` or `evaluator`."""
    index: int
    """Its number among those of its type."""


NodeTasks = tuple[tuple[Task, ...], ...]
"""The tasks of each node, in the order of their local ranks."""


def node_slots(spec: JobSpec) -> tuple[int, ...]:
    """Give how many processes each node of a job runs where all nodes are alike."""
    nodes = spec.instance_count
    match spec.distribution:
        case TensorFlow(task_count=total):
            ends = [-(-total * index // nodes) for index in range(nodes + 1)]
            return tuple(end - start for start, end in pairwise(ends))
        case PyTorch(process_count_per_instance=int(count)) | Mpi(process_count_per_instance=count):
            return (count,) * nodes
        case _:
            return (1,) * nodes


def node_tasks(distribution: Distribution, slots: tuple[int, ...]) -> NodeTasks:
    """Give the tasks of nodes with that many processes each; ranks follow from them, node by node.

    Raises UserError where a node has nothing to do, or where they have not as many places as the job has tasks.
    """
    if isinstance(distribution, TensorFlow):
        return _tensorflow_tasks(distribution, slots)
    firsts = accumulate(slots, initial=0)
    return tuple(
        tuple(Task("rank", rank) for rank in range(first, first + count))
        for first, count in zip(firsts, slots, strict=False)
    )


def _tensorflow_tasks(distribution: TensorFlow, slots: tuple[int, ...]) -> NodeTasks:
    """Spread those that train as evenly as the places allow, then the others; along the ranks all keep their order."""
    total = distribution.task_count
    if total != sum(slots) or 0 in slots:
        raise UserError(f"{total} TensorFlow tasks do not fit nodes that run {', '.join(map(str, slots))} processes")
    # Round by round, each node that has a place left gives one.
    places = [node for taken in range(max(slots)) for node, count in enumerate(slots) if taken < count]
    trainers, others = _trainers(distribution), _others(distribution)
    placed: list[list[Task]] = [[] for _ in slots]
    for nodes, tasks in ((places[: len(trainers)], trainers), (places[len(trainers) :], others)):
        for node, task in zip(sorted(nodes), tasks, strict=True):
            placed[node].append(task)
    return tuple(map(tuple, placed))


def _trainers(distribution: TensorFlow) -> list[Task]:
    chief = [Task("chief", 0)] if distribution.chief else []
    return chief + [Task("worker", index) for index in range(distribution.worker_count)]


def _others(distribution: TensorFlow) -> list[Task]:
    evaluator = [Task("evaluator", 0)] if distribution.evaluator else []
    return [Task("ps", index) for index in range(distribution.parameter_server_count)] + evaluator


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
