"""The plan: for each process of a job its node, ranks, argv and environment, computed and not yet done."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cached_property

from regiment.jobs.dataclass import dataclass, field
from regiment.jobs.placement import Node

from .data import DataPlan
from .tasks import Task

SHELL = "{shell}"
"""Stands in a process's argv, at `ProcessPlan.shell_at`, for the node's shell: bash where there is one, else sh."""
WRAPPER = "{wrapper}"
"""Stands in a launcher's argv where the node's agent puts the command that starts its rank wrapper."""
REMOTE_SHELL = "{remote_shell}"
"""Stands in a launcher's argv for the program by which it reaches the run's other nodes."""

TEMPORARY = "{temporary}"
"""Stands in a launcher's argv and environment for a folder of its own on its node, which is removed with the run."""

SLURM_TASKS = "{slurm_tasks}"
"""Stands in a launcher's argv for a file with the node of each process, in the order of ranks and by Slurm's names."""

SHARED_MEMORY = "{shared_memory}"
"""Stands there for such a folder in shared memory, below /dev/shm."""


class LauncherKind(Enum):
    """What starts a node's processes where its agent does not."""

    TORCHRUN = "torchrun"
    """One a node; it knows its processes by their local ranks."""
    MPIRUN = "mpirun"
    """One on node 0 for all nodes; it knows the processes by their ranks."""


@dataclass(frozen=True)
class ProcessPlan:
    """One process of the job."""

    name: str
    rank: int
    local_rank: int
    node_rank: int
    argv: tuple[str, ...]
    """The user's own words, in which nothing stands for anything else but for the shell's place."""
    environ: Mapping[str, str]
    """What it gets on top of its node's environment."""
    log: str
    """Its log, relative to the attempt's `azureml-logs`."""
    task: Task
    shell_at: int | None = None
    """Where in `argv` the node's shell belongs; None for a command that is no line for it."""
    gpus: tuple[str, ...] = ()
    """Those of its node's GPUs that it is expected to use."""
    cpus: tuple[int, ...] = ()
    """The processors it is bound to; empty for all of its node's."""
    ends_run: bool = True
    """Whether the run is complete only when this process is; others are stopped then."""


@dataclass(frozen=True)
class LauncherPlan:
    """What starts a node's processes, where the agent does not do it itself."""

    kind: LauncherKind
    argv: tuple[str, ...] = ()
    """Empty where the launcher on node 0 starts this node's processes too."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """What it gets on top of what all processes of the node get."""
    log: str | None = None
    """The log of what it prints itself, relative to the attempt's `azureml-logs`; None for the node's own."""
    own_restarts: int = 0
    """How often it may restart its processes by itself."""
    sets: tuple[str, ...] = ()
    """How the names begin that it sets for its processes, where they are to keep nothing else of what it gives them."""
    rank_name: str = "RANK"
    """The variable by which it tells a process its rank."""
    wants_host_name: bool = False
    """Whether its part on each node has to see the node's id as the host's name."""
    slurm_tasks: tuple[int, ...] = ()
    """How many processes Slurm starts on each of the run's nodes, if it does so."""
    is_elastic: bool = False
    """Whether it decides itself which rank a process has, from the nodes that are there."""

    @property
    def is_srun(self) -> bool:
        """Say whether Slurm starts the processes, which then have to find their node's agent by themselves."""
        return bool(self.slurm_tasks)

    @property
    def called(self) -> str:
        """Give the name that people know it by."""
        return "srun" if self.is_srun else self.kind.value


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
    preload: tuple[str, ...] | None = None
    """The modules to import once before the processes are forked; None where they are not forked."""
    may_start_again: bool = False
    """Whether a failure may be followed by another attempt: then what has imported for one stays for the next."""
    ledger: bool = False
    """Whether the processes' Pythons tell how far they have come."""


@dataclass(frozen=True)
class Plan:
    """What a run does, node by node."""

    run_id: str
    attempt: int
    distribution: str
    nodes: tuple[NodePlan, ...] = field(default_factory=tuple)
    notes: tuple[str, ...] = ()
    """What a person should know before it runs."""

    @cached_property
    def processes(self) -> tuple[ProcessPlan, ...]:
        """All processes, in rank order."""
        return tuple(process for node in self.nodes for process in node.processes)
