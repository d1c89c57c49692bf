"""The job: what a job file or a command line asks for, whatever form it was written in.

Everything here is frozen. After the loader nothing knows which form the file had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal


class StartMethod(Enum):
    """How the processes of a `type: pytorch` job are started."""

    TORCHRUN = "torchrun"
    """One torchrun a node starts them."""
    SPAWN = "spawn"
    """The node's agent starts them itself."""


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
    type: Literal["tensorflow"] = "tensorflow"


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


class DataMode(Enum):
    """How a node gets at an input's data, or the run at an output's; the names are Azure ML's."""

    READ_ONLY_MOUNT = "ro_mount"
    """A view of it that cannot be written; also what `mount` of the 2021 form means for inputs."""
    READ_WRITE_MOUNT = "rw_mount"
    """A folder of its own, collected at the end; also what `mount` means for outputs."""
    DOWNLOAD = "download"
    """A copy on each node."""
    UPLOAD = "upload"
    """A folder of its own, collected at the end."""
    DIRECT = "direct"
    """Its path or URL as it is; the job fetches it itself."""


@dataclass(frozen=True)
class LiteralInput:
    """An input that is a value."""

    value: str | int | float | bool
    text: str
    """The value as it was written, which is what the command gets."""
    type: Literal["literal"] = "literal"


@dataclass(frozen=True)
class DataInput:
    """An input that is a file, a folder or something a URL names."""

    path: str
    """An absolute local path, a URL (http, https, or any other scheme), or `azureml:name:version`."""
    kind: str = "uri_folder"
    """`uri_file`, `uri_folder`, `mltable`, `mlflow_model`, `custom_model` or `triton_model`."""
    mode: DataMode = DataMode.READ_ONLY_MOUNT
    type: Literal["data"] = "data"


Input = LiteralInput | DataInput


@dataclass(frozen=True)
class Output:
    """A folder (or file) the job writes, brought into the run's `outputs/<name>` at the end."""

    kind: str = "uri_folder"
    mode: DataMode = DataMode.READ_WRITE_MOUNT
    path: str | None = None
    """Where the file wants it besides, kept and reported as not used here."""


@dataclass(frozen=True)
class Options:
    """What Azure's schema lacks: the job file's `regiment:` key and the flags of the same names."""

    start_method: StartMethod = StartMethod.TORCHRUN
    torchrun_args: tuple[str, ...] = ()
    """Passed to torchrun as they are."""
    grace: float = 30.0
    """Seconds between SIGTERM and SIGKILL when a run is stopped."""


class Goal(Enum):
    """What a sweep wants of its metric."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True)
class Objective:
    """What a sweep is for."""

    primary_metric: str
    """Name of the metric that every trial logs."""
    goal: Goal


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[LiteralInput | Conditional, ...]
    type: Literal["choice"] = "choice"


@dataclass(frozen=True)
class Conditional:
    """A value of a choice that brings parameters of its own."""

    parameters: Mapping[str, Parameter | LiteralInput]
    type: Literal["conditional"] = "conditional"


@dataclass(frozen=True)
class Uniform:
    """Between two numbers, evenly; `uniform`, `quniform`, `loguniform` and `qloguniform`."""

    min_value: float
    max_value: float
    q: float | None = None
    """The value is rounded to multiples of this."""
    is_log: bool = False
    """The bounds are exponents of e, and so is what is drawn between them."""
    type: Literal["uniform"] = "uniform"


@dataclass(frozen=True)
class Normal:
    """Around a number; `normal`, `qnormal`, `lognormal` and `qlognormal`."""

    mu: float
    sigma: float
    q: float | None = None
    is_log: bool = False
    type: Literal["normal"] = "normal"


@dataclass(frozen=True)
class RandInt:
    """A whole number from 0 to `upper` - 1."""

    upper: int
    type: Literal["randint"] = "randint"


Parameter = Choice | Uniform | Normal | RandInt


class SamplingKind(Enum):
    """How a sweep chooses the values of its next trial."""

    RANDOM = "random"
    GRID = "grid"
    BAYESIAN = "bayesian"


class SamplingRule(Enum):
    """Where the numbers of random sampling come from."""

    RANDOM = "random"
    SOBOL = "sobol"
    """A sequence that fills the space evenly."""


@dataclass(frozen=True)
class Sampling:
    """How a sweep chooses."""

    kind: SamplingKind = SamplingKind.RANDOM
    seed: int | None = None
    rule: SamplingRule = SamplingRule.RANDOM
    logbase: float | None = None
    """Base of the exponents of logarithmic parameters; None for e."""


@dataclass(frozen=True)
class SweepLimits:
    """How much a sweep may use; a single trial's time limit is the job's own `timeout`."""

    max_total_trials: int = 1000
    max_concurrent_trials: int | None = None
    """None for all at once."""
    timeout: float | None = None
    """Seconds for the whole sweep, or None for no limit."""


@dataclass(frozen=True)
class Bandit:
    """Stop a trial that is worse than the best one by more than the slack; one of the two slacks is given."""

    slack_factor: float | None = None
    slack_amount: float | None = None
    evaluation_interval: int = 1
    delay_evaluation: int = 0
    type: Literal["bandit"] = "bandit"


@dataclass(frozen=True)
class MedianStopping:
    """Stop a trial whose best is worse than the median of the running averages."""

    evaluation_interval: int = 1
    delay_evaluation: int = 0
    type: Literal["median_stopping"] = "median_stopping"


@dataclass(frozen=True)
class TruncationSelection:
    """Stop the worst trials at each evaluation."""

    truncation_percentage: int
    evaluation_interval: int = 1
    delay_evaluation: int = 0
    exclude_finished_jobs: bool = False
    type: Literal["truncation_selection"] = "truncation_selection"


EarlyTermination = Bandit | MedianStopping | TruncationSelection


@dataclass(frozen=True)
class Sweep:
    """Many runs of one job, with different values in its command; the job itself is one trial."""

    search_space: Mapping[str, Parameter]
    objective: Objective
    sampling: Sampling = field(default_factory=Sampling)
    limits: SweepLimits = field(default_factory=SweepLimits)
    early_termination: EarlyTermination | None = None


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

    @property
    def processes_per_node(self) -> int:
        """How many processes each node runs."""
        match self.distribution:
            case PyTorch(process_count_per_instance=int(count)):
                return count
            case _:
                return 1
