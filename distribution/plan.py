"""The plan: for each process of a job its node, ranks, argv and environment, computed and not yet done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from regiment.jobs.placement import Node, Placement
from regiment.jobs.spec import ArgvCommand, Command, Distribution, JobSpec, Plain, PyTorch, ShellCommand, StartMethod
from regiment.jobs.workspace import driver_log_name, node_log_prefix

from . import environment
from .data import DataPlan, data_plan, data_values, replaced, shown_plan, with_values
from .torchrun import own_restarts, torchrun_argv

SHELL = "{shell}"
"""Stands in a planned argv for the node's shell: bash where there is one, else sh."""


@dataclass(frozen=True)
class ProcessPlan:
    """One process of the job."""

    name: str
    rank: int
    local_rank: int
    node_rank: int
    argv: tuple[str, ...]
    environ: Mapping[str, str]
    """What it gets on top of its node's environment."""
    log: str
    """Its log, relative to the attempt's `azureml-logs`."""


@dataclass(frozen=True)
class LauncherPlan:
    """The program that starts a node's processes, where the agent does not do it itself."""

    name: str
    argv: tuple[str, ...]
    own_restarts: int = 0
    """How often it may restart its processes by itself."""


@dataclass(frozen=True)
class NodePlan:
    """What one node's agent does."""

    node: Node
    environ: Mapping[str, str]
    """What all its processes get, and the launcher."""
    defaults: Mapping[str, str]
    """What they get where neither the node's environment nor the user has a value."""
    path_first: str
    """The folder that comes first in PATH: the one of the job's Python."""
    processes: tuple[ProcessPlan, ...]
    data: DataPlan
    launcher: LauncherPlan | None = None


@dataclass(frozen=True)
class Plan:
    """What a run does, node by node."""

    run_id: str
    attempt: int
    distribution: str
    nodes: tuple[NodePlan, ...] = field(default_factory=tuple)

    @cached_property
    def processes(self) -> tuple[ProcessPlan, ...]:
        """All processes, in rank order."""
        return tuple(process for node in self.nodes for process in node.processes)


def make_plan(spec: JobSpec, placement: Placement, run_id: str, attempt: int) -> Plan:
    """Compute what every node and every process of a job does; ranks are node-major."""
    rule = _RULES[type(spec.distribution)]
    run = environment.run_variables(run_id, spec.experiment_name, attempt, rule.framework)
    nodes = []
    first_rank = 0
    for node in placement.nodes:
        data = data_plan(spec, node.data)
        values = data_values(spec, data)
        own = {name: replaced(value, values) for name, value in spec.environment_variables.items()}
        command = with_values(spec.command, values)
        nodes.append(
            NodePlan(
                node=node,
                environ={**own, **run, **environment.node_variables(node, placement)},
                defaults=environment.default_variables(node),
                path_first=node.python.rpartition("/")[0],
                processes=_processes(command, node, placement, first_rank),
                data=data,
                launcher=rule.launcher(spec, node, placement),
            )
        )
        first_rank += node.slots
    return Plan(run_id, attempt, spec.distribution.type, tuple(nodes))


def _processes(command: Command, node: Node, placement: Placement, first_rank: int) -> tuple[ProcessPlan, ...]:
    argv = command_argv(command)
    world_size = placement.world_size
    prefix = node_log_prefix(node.node_id, len(placement.nodes))
    return tuple(
        ProcessPlan(
            name=environment.process_name(rank, world_size),
            rank=rank,
            local_rank=rank - first_rank,
            node_rank=node.index,
            argv=argv,
            environ=environment.process_variables(rank, rank - first_rank, world_size),
            log=f"{prefix}{driver_log_name(rank, world_size)}",
        )
        for rank in range(first_rank, first_rank + node.slots)
    )


def command_argv(command: Command) -> tuple[str, ...]:
    """Give the argv that runs the user's command: his own, or the node's shell over his one line."""
    match command:
        case ShellCommand(text):
            return (SHELL, "-c", text)
        case ArgvCommand(argv):
            return argv


def _pytorch_launcher(spec: JobSpec, node: Node, placement: Placement) -> LauncherPlan | None:
    # Without a process count the user's command is the launcher (often his own torchrun), once a node.
    per_process = isinstance(spec.distribution, PyTorch) and spec.distribution.process_count_per_instance is not None
    if not per_process or spec.options.start_method is not StartMethod.TORCHRUN:
        return None
    extra = spec.options.torchrun_args
    return LauncherPlan("torchrun", torchrun_argv(node, placement, extra), own_restarts(extra))


def _no_launcher(spec: JobSpec, node: Node, placement: Placement) -> LauncherPlan | None:
    return None


@dataclass(frozen=True)
class _Rule:
    """How one kind of distribution is planned."""

    framework: str
    """What AZUREML_FRAMEWORK says."""
    launcher: Callable[[JobSpec, Node, Placement], LauncherPlan | None]


_RULES: Mapping[type[Distribution], _Rule] = {
    PyTorch: _Rule("PyTorch", _pytorch_launcher),
    Plain: _Rule("Python", _no_launcher),
}


def masked_plan(plan: Plan) -> Plan:
    """Give the plan with the values of secrets hidden, for people and for `plan.json`."""
    return replace(
        plan,
        nodes=tuple(
            replace(node, environ=environment.masked(node.environ), data=shown_plan(node.data)) for node in plan.nodes
        ),
    )
