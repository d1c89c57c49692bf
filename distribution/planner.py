"""Makes the plan: what every node and every process of a job does, from the job and where its nodes are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from regiment.jobs.dataclass import dataclass, replace
from regiment.jobs.placement import Node, Placement
from regiment.jobs.plain import to_plain
from regiment.jobs.rows import with_rows
from regiment.jobs.spec import (
    ArgvCommand,
    Command,
    Distribution,
    JobSpec,
    Mpi,
    Plain,
    PyTorch,
    ShellCommand,
    TensorFlow,
    preloaded_modules,
    starts_through_torchrun,
)
from regiment.jobs.words import counted
from regiment.jobs.workspace import driver_log_name, node_log_prefix

from . import environment
from .binding import process_cpus
from .data import data_plan, data_values, replaced, shown_plan, with_values
from .mpirun import (
    Mpirun,
    is_started_by_slurm,
    launcher_environ,
    mpirun_argv,
    needs_own_host_name,
    rank_variables,
)
from .plan import SHELL, LauncherKind, LauncherPlan, NodePlan, Plan, ProcessPlan
from .shares import shares
from .tasks import NodeTasks, Task, counts_for_end, node_tasks
from .tensorflow import Cluster, cluster, tf_config
from .torchrun import elastic_argv, elastic_environ, elastic_restarts, own_restarts, torchrun_argv

MPI_LOG = "70_mpi_log.txt"
"""The log of mpirun's own output; the name is Azure ML's."""


def make_plan(spec: JobSpec, placement: Placement, run_id: str, attempt: int, mpirun: Mpirun | None = None) -> Plan:
    """Compute what every node and every process of a job does; ranks are node-major.

    `mpirun` is the one found on node 0, for jobs of type mpi. Raises UserError where the job's counts don't fit.
    """
    rule = _RULES[type(spec.distribution)]
    job = _Job(spec, placement, node_tasks(spec.distribution, tuple(node.slots for node in placement.nodes)), mpirun)
    run = environment.run_variables(run_id, spec.experiment_name, attempt, rule.framework)
    nodes = []
    first_rank = 0
    for node in placement.nodes:
        data = data_plan(spec, node.data)
        values = data_values(spec, data)
        own = {name: replaced(value, values) for name, value in spec.environment_variables.items()}
        nodes.append(
            NodePlan(
                node=node,
                environ={**own, **run, **environment.node_variables(node, placement)},
                defaults={**environment.default_variables(node), **rule.defaults(node)},
                path_first=node.python.rpartition("/")[0],
                processes=tuple(_processes(job, node, with_values(spec.command, values), first_rank, rule)),
                data=data,
                launcher=rule.launcher(job, node),
                preload=preloaded_modules(spec.distribution, spec.options),
                may_start_again=spec.options.restarts.any,
                ledger=spec.options.ledger,
            )
        )
        first_rank += node.slots
    return Plan(run_id, attempt, spec.distribution.type, tuple(nodes), tuple(_notes(spec, placement)))


def wants_ports(spec: JobSpec) -> bool:
    """Say whether each process of a job needs a port of its own that all others know."""
    return isinstance(spec.distribution, TensorFlow)


@dataclass(frozen=True)
class _Job:
    """What the rules look at."""

    spec: JobSpec
    placement: Placement
    tasks: NodeTasks
    mpirun: Mpirun | None

    @cached_property
    def cluster(self) -> Cluster:
        """Where the tasks of a TensorFlow job are."""
        return cluster(self.placement, self.tasks)


def _processes(job: _Job, node: Node, command: Command, first_rank: int, rule: _Rule) -> Iterator[ProcessPlan]:
    world_size = job.placement.world_size
    folder = node_log_prefix(node.node_id, len(job.placement.nodes))
    cpus = process_cpus(job.spec.options.bind, node)
    argv = command_argv(command)
    for local_rank, task in enumerate(job.tasks[node.index]):
        rank = first_rank + local_rank
        prefix = tuple(_prefix(job.spec, rank, local_rank, node.index))
        gpus = rule.gpus(job, node, task, local_rank)
        yield ProcessPlan(
            name=environment.process_name(task, world_size),
            rank=rank,
            local_rank=local_rank,
            node_rank=node.index,
            argv=(*prefix, *argv),
            environ={**_contract(job, task, rank, local_rank), **rule.environ(job, node, task, gpus)},
            log=f"{folder}{driver_log_name(rank, world_size)}",
            task=task,
            shell_at=len(prefix) if isinstance(command, ShellCommand) else None,
            gpus=gpus,
            cpus=cpus[local_rank],
            ends_run=rule.ends_run(job.spec, task),
        )


def _contract(job: _Job, task: Task, rank: int, local_rank: int) -> Mapping[str, str]:
    own = environment.process_variables(task, rank, local_rank, job.placement.world_size)
    if job.spec.options.min_nodes is None:
        return own
    elastic = environment.elastic_variables("{rank}", "{node rank}", "{node count}")
    places = {"RANK": "{rank}", "WORLD_SIZE": "{world size}", "GROUP_RANK": "{node rank}"}
    return {**own, **places, **elastic, "MASTER_ADDR": "{address}", "MASTER_PORT": "{port}"}


def _prefix(spec: JobSpec, rank: int, local_rank: int, node_rank: int) -> Iterator[str]:
    ranks = spec.options.prefix_ranks
    if ranks is not None and rank not in ranks:
        return
    values = {"{rank}": rank, "{local_rank}": local_rank, "{node_rank}": node_rank}
    for word in spec.options.prefix:
        for name, value in values.items():
            word = word.replace(name, str(value))
        yield word


def command_argv(command: Command) -> tuple[str, ...]:
    """Give the argv that runs the user's command: his own, or the node's shell over his one line."""
    match command:
        case ShellCommand(text):
            return (SHELL, "-c", text)
        case ArgvCommand(argv):
            return argv


def _notes(spec: JobSpec, placement: Placement) -> Iterator[str]:
    takes_by_rank = not isinstance(spec.distribution, TensorFlow)
    short: dict[tuple[int, int], list[Node]] = {}
    for node in placement.nodes:
        if takes_by_rank and node.gpus and len(node.gpus) < node.slots:
            short.setdefault((len(node.gpus), node.slots), []).append(node)
    for (gpus, slots), nodes in short.items():
        yield (
            f"{_named(nodes)} {counted(gpus, 'GPU')} for {slots} processes: a program that takes GPU number "
            f"LOCAL_RANK fails there with 'invalid device ordinal' from local rank {gpus} on"
        )
    sharing = [node for node in placement.nodes if node.shares_gpus]
    if sharing:
        shared = {gpu for node in sharing for gpu in node.gpus or ()}
        yield (
            f"{len(sharing)} nodes emulated here share {counted(len(shared), 'GPU')}: NCCL refuses two ranks on one "
            "GPU ('Duplicate GPU detected'); gloo does not mind"
        )


def _named(nodes: list[Node]) -> str:
    others = len(nodes) - 1
    return f"{nodes[0].node_id} and {counted(others, 'other node')} each have" if others else f"{nodes[0].node_id} has"


# --- what the kinds of distribution have of their own -----------------------------------------------


def _pytorch_launcher(job: _Job, node: Node) -> LauncherPlan | None:
    spec = job.spec
    if not starts_through_torchrun(spec.distribution, spec.options):
        return None
    extra = spec.options.torchrun_args
    if spec.options.min_nodes is None:
        argv = torchrun_argv(node, job.placement, extra)
        return LauncherPlan(LauncherKind.TORCHRUN, argv, own_restarts=own_restarts(extra))
    return LauncherPlan(
        LauncherKind.TORCHRUN,
        elastic_argv(node, job.placement, spec.options.min_nodes, extra),
        environ=elastic_environ(),
        own_restarts=elastic_restarts(extra),
        is_elastic=True,
    )


def _mpi_launcher(job: _Job, node: Node) -> LauncherPlan:
    assert job.mpirun is not None, "who plans a job of type mpi looks for its mpirun first"
    mpirun, nodes = job.mpirun, job.placement.nodes
    extra = job.spec.options.mpirun_args
    return LauncherPlan(
        LauncherKind.MPIRUN,
        argv=mpirun_argv(mpirun, nodes, extra) if node.index == 0 else (),
        environ=launcher_environ(mpirun.flavour, job.placement),
        log=MPI_LOG if node.index == 0 else None,
        sets=rank_variables(mpirun.flavour).prefixes,
        rank_name=rank_variables(mpirun.flavour).rank,
        wants_host_name=needs_own_host_name(mpirun.flavour, nodes),
        slurm_tasks=tuple(node.slots for node in nodes) if is_started_by_slurm(mpirun.flavour) else (),
    )


def _no_launcher(job: _Job, node: Node) -> None:
    return None


def _no_environ(job: _Job, node: Node, task: Task, gpus: tuple[str, ...]) -> Mapping[str, str]:
    return {}


def _tensorflow_environ(job: _Job, node: Node, task: Task, gpus: tuple[str, ...]) -> Mapping[str, str]:
    environ = {"TF_CONFIG": tf_config(job.cluster, task)}
    if node.gpus is not None:
        environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus) or "-1"
    return environ


def _local_gpu(job: _Job, node: Node, task: Task, local_rank: int) -> tuple[str, ...]:
    """Give the GPU whose number is the local rank; all of the node's where the command is its own launcher."""
    gpus = node.gpus or ()
    count = getattr(job.spec.distribution, "process_count_per_instance", None)
    return gpus if count is None else gpus[local_rank : local_rank + 1]


def _tensorflow_gpus(job: _Job, node: Node, task: Task, local_rank: int) -> tuple[str, ...]:
    """Give a task its share: TensorFlow takes every GPU it sees, whole, and a parameter server needs none."""
    users = [other for other in job.tasks[node.index] if other.type != "ps"]
    return shares(node.gpus or (), len(users))[users.index(task)] if task in users else ()


def _no_defaults(node: Node) -> Mapping[str, str]:
    return {}


def _tensorflow_defaults(node: Node) -> Mapping[str, str]:
    """Give each process at least two inter-op threads.

    TensorFlow starts one for each processor a process may use. With a single one, a parameter server's worker waits for
    ever: the step has the thread, and what would bring the step its data waits for one.
    """
    if len(node.cpus) >= 2 * node.slots:
        return {}
    return {"TF_NUM_INTEROP_THREADS": str(max(2, len(node.cpus)))}


def _every_task(spec: JobSpec, task: Task) -> bool:
    return True


def _tensorflow_ends_run(spec: JobSpec, task: Task) -> bool:
    assert isinstance(spec.distribution, TensorFlow)
    return counts_for_end(task, spec.distribution, spec.options.stop_when)


@dataclass(frozen=True)
class _Rule:
    """How one kind of distribution is planned."""

    framework: str
    """What AZUREML_FRAMEWORK says."""
    launcher: Callable[[_Job, Node], LauncherPlan | None] = _no_launcher
    environ: Callable[[_Job, Node, Task, tuple[str, ...]], Mapping[str, str]] = _no_environ
    """What a process with these GPUs gets besides the contract."""
    gpus: Callable[[_Job, Node, Task, int], tuple[str, ...]] = _local_gpu
    """Which GPUs a process with that local rank is expected to use."""
    defaults: Callable[[Node], Mapping[str, str]] = _no_defaults
    """What helps the framework on such a node, and gives way to the user's own values."""
    ends_run: Callable[[JobSpec, Task], bool] = _every_task


_RULES: Mapping[type[Distribution], _Rule] = {
    PyTorch: _Rule("PyTorch", _pytorch_launcher),
    TensorFlow: _Rule(
        "TensorFlow",
        environ=_tensorflow_environ,
        gpus=_tensorflow_gpus,
        defaults=_tensorflow_defaults,
        ends_run=_tensorflow_ends_run,
    ),
    Mpi: _Rule("Python", _mpi_launcher),
    Plain: _Rule("Python"),
}


def plan_pieces(plan: Plan) -> Iterator[str]:
    """Give the content of `plan.json`, in pieces: what all nodes' processes get is there once, under `environ`."""
    masked = masked_plan(plan)
    shared = shared_environ(masked)
    head = {"runId": plan.run_id, "attempt": plan.attempt, "distribution": plan.distribution, "notes": plan.notes}
    nodes = (json.dumps(to_plain(without(node, shared))) for node in masked.nodes)
    return with_rows({**head, "environ": shared}, {"nodes": nodes})


def shared_environ(plan: Plan) -> dict[str, str]:
    """Give the variables that all nodes' processes get alike: with many nodes most of what is to be said, by size."""
    first = plan.nodes[0].environ
    return {n: value for n, value in first.items() if all(node.environ.get(n) == value for node in plan.nodes)}


def without(node: NodePlan, shared: Mapping[str, str]) -> NodePlan:
    """Give a node's plan without what it shares with all."""
    return replace(node, environ={name: value for name, value in node.environ.items() if name not in shared})


def masked_plan(plan: Plan) -> Plan:
    """Give the plan with the values of secrets hidden, for people and for `plan.json`."""
    return replace(
        plan,
        nodes=tuple(
            replace(node, environ=environment.masked(node.environ), data=shown_plan(node.data)) for node in plan.nodes
        ),
    )
