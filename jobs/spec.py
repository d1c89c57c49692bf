"""The job: what a job file or a command line asks for, whatever form it was written in.

Everything here is frozen. After the loader nothing knows which form the file had.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal

from .data import Input, Output
from .dataclass import dataclass, field
from .sweep import Sweep


class StartMethod(Enum):
    """How the processes of a `type: pytorch` job are started."""

    TORCHRUN = "torchrun"
    """One torchrun a node starts them."""
    SPAWN = "spawn"
    """The node's agent starts them itself."""
    FORK = "fork"
    """A process that has imported `preload` forks them; where that cannot be right, the agent starts them itself."""


@dataclass(frozen=True)
class ShellCommand:
    """One line for the shell, as a job file's `command` has it."""

    text: str
    type: Literal["shell"] = "shell"


@dataclass(frozen=True)
class ArgvCommand:
    """A program and its arguments, as given after `--`; no shell is involved."""

    argv: tuple[str, ...]
    type: Literal["argv"] = "argv"


Command = ShellCommand | ArgvCommand


@dataclass(frozen=True)
class PyTorch:
    """`distribution: {type: pytorch}`."""

    process_count_per_instance: int | None = None
    """Processes on each node; None starts the command once a node and leaves the rest to it."""
    type: Literal["pytorch"] = "pytorch"


@dataclass(frozen=True)
class Plain:
    """No `distribution`: the command runs once on each node."""

    type: Literal["none"] = "none"


@dataclass(frozen=True)
class TensorFlow:
    """`distribution: {type: tensorflow}`."""

    worker_count: int
    """Workers of the whole job; the loader has put the node count in where the file has none."""
    parameter_server_count: int = 0
    chief: bool = False
    """Whether there is a chief besides the workers: what coordinates a `ParameterServerStrategy`."""
    evaluator: bool = False
    """Whether there is an evaluator, which is no part of the cluster."""
    type: Literal["tensorflow"] = "tensorflow"

    @property
    def task_count(self) -> int:
        """How many processes the job has."""
        return self.worker_count + self.parameter_server_count + self.chief + self.evaluator


@dataclass(frozen=True)
class Mpi:
    """`distribution: {type: mpi}`."""

    process_count_per_instance: int = 1
    type: Literal["mpi"] = "mpi"


@dataclass(frozen=True)
class Ray:
    """`distribution: {type: ray}`: node 0 starts a Ray head, the others join it."""

    port: int | None = None
    address: str | None = None
    """Of a head that runs elsewhere."""
    include_dashboard: bool | None = None
    dashboard_port: int | None = None
    head_node_additional_args: str | None = None
    worker_node_additional_args: str | None = None
    type: Literal["ray"] = "ray"


Distribution = PyTorch | TensorFlow | Mpi | Ray | Plain


@dataclass(frozen=True)
class Environment:
    """What the processes run in, as the file asks for it; nothing has been looked up or built."""

    name: str | None = None
    """A registered one as the file names it (`azureml:n:1`, `azureml:n@latest`, a registry's URI), or `file:` and the
    absolute path of an included file that was not there."""
    image: str | None = None
    conda_file: str | None = None
    """Absolute path of a conda file."""
    conda: Mapping[str, Any] | None = None
    """A conda file's content that stands in the job file."""
    build_path: str | None = None
    """Absolute path of the folder to build an image from, or a URL."""
    dockerfile_path: str | None = None
    """The Dockerfile in it, where it is not called `Dockerfile`."""

    def __str__(self) -> str:
        """Give the one thing that tells best which it is."""
        return self.name or self.image or self.conda_file or self.build_path or "inline"


class StopWhen(Enum):
    """Which processes of a `type: tensorflow` job have to complete for the run to be complete."""

    WORKERS = "workers"
    """The chief, where there is one, and all workers."""
    CHIEF = "chief"
    """The chief; without one, worker 0, which TensorFlow takes for it."""
    ALL = "all"
    """Every process."""


class Binding(Enum):
    """Which of its node's processors a process may use."""

    NONE = "none"
    """All of them."""
    CPUS = "cpus"
    """A share of its own."""
    NUMA = "numa"
    """Those of one NUMA node, the processes spread over them in order."""


@dataclass(frozen=True)
class Restarts:
    """How often a run starts its processes again after a failure, and how soon; all durations in seconds."""

    max: int = 0
    """After failures of the job's own processes."""
    infrastructure: int | None = None
    """After the loss of a node, of a launcher, and the like; None for as often as `max` says."""
    refill: float = 3600.0
    """A restart counts no more once the processes have run for that long since: so often an hour, not in a life."""
    backoff: float = 1.0
    """Before the first restart; each further one that counts doubles it."""
    max_backoff: float = 60.0
    """The longest pause."""
    progress: float = 60.0
    """An attempt that ran for less, and left nothing new in ./outputs, made no progress; three in a row end the run."""

    @property
    def any(self) -> bool:
        """Say whether any failure may be followed by another attempt."""
        return max(self.max, self.infrastructure or 0) > 0


@dataclass(frozen=True)
class EarlyExit:
    """What is done when some processes have ended well and the others go on; in seconds after the first of them."""

    warn: float = 30.0
    """When it is said."""
    fail: float | None = None
    """When the run is failed for it, or None for never."""


class ContainerRuntime(Enum):
    """What makes the container that a node's agent and its processes are in, on Slurm."""

    NONE = "none"
    """There is none: they run as they are on the node."""
    PYXIS = "pyxis"
    """The plugin of srun's with `--container-image`, on enroot."""
    APPTAINER = "apptainer"
    """`apptainer exec`, which was called Singularity."""


@dataclass(frozen=True)
class Container:
    """The container of a node on Slurm."""

    runtime: ContainerRuntime = ContainerRuntime.NONE
    image: str | None = None
    """As the runtime takes it: a file, or a name in a registry."""
    mounts: tuple[str, ...] = ()
    """Folders that are seen in it besides the run's own: `/data`, or `/data:/inside`."""
    flags: tuple[str, ...] = ()
    """More of the runtime's flags, as the site wants them."""


SbatchOptions = Mapping[str, str | bool]
"""Options of Slurm's sbatch by their long names; True for one without a value, False for one to leave out."""


@dataclass(frozen=True)
class Options:
    """What Azure's schema lacks: the job file's `regiment:` key and the flags of the same names."""

    start_method: StartMethod = StartMethod.TORCHRUN
    torchrun_args: tuple[str, ...] = ()
    """Passed to torchrun as they are."""
    grace: float = 30.0
    """Seconds between SIGTERM and SIGKILL when a run is stopped."""
    min_nodes: int | None = None
    """With how many nodes an elastic job goes on; None for a job that needs all it asked for."""
    stop_when: StopWhen | None = None
    """None for `chief` where a TensorFlow job has a chief, else `workers`."""
    mpirun: str | None = None
    """The mpirun to use: a path, or a name in PATH; None for the first one found."""
    mpirun_args: tuple[str, ...] = ()
    """Passed to mpirun as they are."""
    prefix: tuple[str, ...] = ()
    """A program with arguments that starts each process, for example `strace -f`."""
    prefix_ranks: tuple[int, ...] | None = None
    """The ranks that `prefix` is for; None for all."""
    bind: Binding = Binding.NONE
    preload: tuple[str, ...] | None = None
    """The modules that are imported once a node for `start_method: fork`; None for torch."""
    restarts: Restarts = Restarts()
    early_exit: EarlyExit = EarlyExit()
    preemption_grace: float | None = None
    """Seconds the processes have after a preemption notice before they are stopped; None for as long as they get."""
    requeue: int = 0
    """How often a run on Slurm has its job queued again after a preemption, the end of its time or a node's failure."""
    ledger: bool = False
    """Whether the processes' Pythons tell when they are up, have imported, have met and have made a first step."""
    slurm: SbatchOptions = field(default_factory=dict)
    """For a compute target of type slurm; they go before the target's own."""
    container: Container = Container()
    """What the nodes of Slurm's are in."""


def starts_through_torchrun(kind: Distribution, options: Options) -> bool:
    """Say whether a torchrun on each node starts the processes; without a process count the command itself does."""
    per_process = isinstance(kind, PyTorch) and kind.process_count_per_instance is not None
    return per_process and options.start_method is StartMethod.TORCHRUN


def preloaded_modules(kind: Distribution, options: Options) -> tuple[str, ...] | None:
    """Give the modules to import once a node before its processes are forked; None where they are not forked."""
    if not isinstance(kind, PyTorch) or options.start_method is not StartMethod.FORK:
        return None
    return ("torch",) if options.preload is None else options.preload


@dataclass(frozen=True)
class JobSpec:
    """A job, complete and checked."""

    command: Command
    experiment_name: str
    name: str | None = None
    """The run id the user wants, or None for a made one."""
    display_name: str | None = None
    description: str | None = None
    tags: Mapping[str, str | None] = field(default_factory=dict)
    properties: Mapping[str, str | None] = field(default_factory=dict)
    code: str | None = None
    """Absolute path of the folder, or of the one file, to snapshot; None runs in `working_folder` as it stands."""
    code_url: str | None = None
    """Code that is not on this machine: `git+https://...` or `azureml:...`, as written; then `code` is None."""
    working_folder: str | None = None
    """Absolute path the processes run in when there is no snapshot."""
    environment: Environment | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    compute: str = "local"
    instance_count: int = 1
    """Nodes."""
    distribution: Distribution = field(default_factory=Plain)
    timeout: float | None = None
    """Seconds the run may take, or None for no limit."""
    options: Options = field(default_factory=Options)
    sweep: Sweep | None = None
    """What a sweep job varies; the other fields are then those of each trial."""
