"""Run configurations as objects: how many processes of what kind, where, in what environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regiment.jobs.dataclass import dataclass, field
from regiment.jobs.errors import UserError

from .compute import ComputeTarget
from .environment import DockerConfiguration, Environment, environment_keys, environment_of, without_nothing

_SUFFIX = ".runconfig"
_LONGEST = 2592000
"""Seconds a run may take where nothing is said: the 30 days of Azure ML."""


@dataclass
class MpiConfiguration:
    """Starts the script through mpirun."""

    process_count_per_node: int = 1
    node_count: int = 1


@dataclass
class PyTorchConfiguration:
    """Starts the script once a process, as `torch.distributed` wants it."""

    communication_backend: str = "Nccl"
    """`Nccl` or `Gloo`; the script itself chooses, Regiment only keeps it."""
    process_count: int | None = None
    """Processes of all nodes together; None for one a node, which starts others itself or needs none."""
    node_count: int = 1


@dataclass
class TensorflowConfiguration:
    """Starts the script once a task, with `TF_CONFIG`."""

    worker_count: int = 1
    """Workers; each has a node of its own unless `RunConfiguration.node_count` says otherwise."""
    parameter_server_count: int = 1


DistributedJobConfiguration = MpiConfiguration | PyTorchConfiguration | TensorflowConfiguration


@dataclass
class RunConfiguration:
    """How a script is run, as `azureml.core.RunConfiguration` has it; a `.runconfig` file as an object."""

    script: str | None = None
    arguments: list[Any] | None = None
    framework: str | None = None
    """`Python`, `PyTorch` or `TensorFlow`."""
    communicator: str | None = None
    """`None`, `Mpi`, `OpenMpi`, `IntelMpi`, `ParameterServer`, `Nccl` or `Gloo`."""
    command: str | list[Any] | None = None
    target: str | ComputeTarget = "local"
    """The compute target, or its name."""
    node_count: int = 1
    max_run_duration_seconds: float | None = None
    """Seconds after which the run is cancelled; None for no limit of its own."""
    environment: Environment = field(default_factory=Environment)
    environment_variables: dict[str, str] = field(default_factory=dict)
    mpi: MpiConfiguration = field(default_factory=MpiConfiguration)
    tensorflow: TensorflowConfiguration = field(default_factory=TensorflowConfiguration)
    pytorch: PyTorchConfiguration = field(default_factory=PyTorchConfiguration)
    docker: DockerConfiguration = field(default_factory=DockerConfiguration)
    others: dict[str, Any] = field(default_factory=dict)
    """Keys of its file that stand for nothing here; they are saved as they were loaded."""

    def save(
        self, path: str | Path | None = None, name: str | None = None, separate_environment_yaml: bool = False
    ) -> str:
        """Write the configuration as `<path>/.azureml/<name>.runconfig`, for `regiment run -c NAME`; gives its path.

        Args:
            path: The project's folder (default: the current one), or the file itself if it ends in `.runconfig`.
            name: The configuration's name; needed where `path` is a folder.
            separate_environment_yaml: Accepted; the environment always stays in the file.

        Raises:
            UserError: There is no name, or the file cannot be written.
        """
        import yaml

        file = _file_of(path, name)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(yaml.safe_dump(runconfig_keys(self), sort_keys=False, allow_unicode=True), "utf-8")
        except OSError as error:
            raise UserError(f"{file} cannot be written: {error.strerror}; give another path") from None
        return str(file)

    @staticmethod
    def load(path: str | Path, name: str | None = None) -> RunConfiguration:
        """Read a configuration, YAML or JSON, from `<path>/.azureml/<name>.runconfig` or the file `path`.

        Raises:
            UserError: There is no such file, or it is no run configuration.
        """
        import yaml

        file = Path(path) if name is None and Path(path).is_file() else _file_of(path, name)
        try:
            keys = yaml.safe_load(file.read_text("utf-8"))
        except FileNotFoundError:
            raise UserError(f"there is no {file}; check the path and the name of the run configuration") from None
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{file} cannot be read: {str(error).splitlines()[0]}") from None
        if not isinstance(keys, dict):
            raise UserError(f"{file} is no run configuration: it has no keys")
        return _runconfig_of(keys)


def _file_of(path: str | Path | None, name: str | None) -> Path:
    folder = Path(path or ".")
    if folder.suffix == _SUFFIX:
        return folder
    if not name:
        raise UserError("a run configuration needs a name: give name='NAME', or a path that ends in .runconfig")
    return folder / ".azureml" / f"{name}{_SUFFIX}"


def with_distribution(run_config: RunConfiguration, wanted: DistributedJobConfiguration) -> None:
    """Put a `distributed_job_config` into a configuration."""
    match wanted:
        case MpiConfiguration():
            run_config.communicator, run_config.mpi, run_config.node_count = "Mpi", wanted, wanted.node_count
        case PyTorchConfiguration():
            run_config.communicator, run_config.pytorch = wanted.communication_backend, wanted
            run_config.framework, run_config.node_count = "PyTorch", wanted.node_count
        case TensorflowConfiguration():
            run_config.communicator, run_config.tensorflow = "ParameterServer", wanted
            if run_config.node_count == 1:
                run_config.node_count = wanted.worker_count


def runconfig_keys(run_config: RunConfiguration) -> dict[str, Any]:
    """Give a configuration as the keys of its file; what says nothing is left out."""
    pytorch, docker, target = run_config.pytorch, run_config.docker, run_config.target
    sections: dict[str, tuple[str, dict[str, Any]]] = {
        "Mpi": ("mpi", {"processCountPerNode": run_config.mpi.process_count_per_node}),
        "ParameterServer": (
            "tensorflow",
            {
                "workerCount": run_config.tensorflow.worker_count,
                "parameterServerCount": run_config.tensorflow.parameter_server_count,
            },
        ),
        "Nccl": ("pytorch", {"processCount": pytorch.process_count}),
    }
    own: dict[str, tuple[str, dict[str, Any]]] = {
        **dict.fromkeys(("OpenMpi", "IntelMpi"), sections["Mpi"]),
        "Gloo": sections["Nccl"],
        **sections,
    }
    section, values = own.get(run_config.communicator or "", ("", {}))
    return {
        **run_config.others,
        **without_nothing(
            {
                "script": run_config.script,
                "arguments": words(run_config.arguments),
                "command": run_config.command if isinstance(run_config.command, str) else words(run_config.command),
                "target": target if isinstance(target, str) else target.name,
                "framework": run_config.framework or "Python",
                "communicator": run_config.communicator or "None",
                "nodeCount": run_config.node_count,
                "maxRunDurationSeconds": run_config.max_run_duration_seconds,
                "environment": environment_keys(run_config.environment),
                "environmentVariables": {k: str(v) for k, v in run_config.environment_variables.items()},
                "docker": {"useDocker": True, "shmSize": docker.shm_size} if docker.use_docker else None,
                section: {name: value for name, value in values.items() if value is not None},
            }
        ),
    }


_KNOWN = frozenset(
    """
    script arguments command target framework communicator nodeCount maxRunDurationSeconds environment
    environmentVariables mpi tensorflow pytorch pyTorch docker
    """.split()
)


def _runconfig_of(keys: Mapping[str, Any]) -> RunConfiguration:
    mpi, tensorflow = keys.get("mpi") or {}, keys.get("tensorflow") or {}
    pytorch, docker = keys.get("pytorch") or keys.get("pyTorch") or {}, keys.get("docker") or {}
    nodes = keys.get("nodeCount") or 1
    return RunConfiguration(
        script=keys.get("script"),
        arguments=list(keys.get("arguments") or ()),
        framework=keys.get("framework"),
        communicator=keys.get("communicator"),
        command=keys.get("command") or None,
        target=keys.get("target") or "local",
        node_count=nodes,
        max_run_duration_seconds=keys.get("maxRunDurationSeconds"),
        environment=environment_of(keys.get("environment") or {}),
        environment_variables=dict(keys.get("environmentVariables") or {}),
        mpi=MpiConfiguration(mpi.get("processCountPerNode") or 1, nodes),
        tensorflow=TensorflowConfiguration(
            tensorflow.get("workerCount") or 1, tensorflow.get("parameterServerCount") or (0 if tensorflow else 1)
        ),
        pytorch=PyTorchConfiguration(pytorch.get("communicationBackend") or "Nccl", pytorch.get("processCount"), nodes),
        docker=DockerConfiguration(use_docker=bool(docker.get("useDocker")), shm_size=docker.get("shmSize")),
        others={name: value for name, value in keys.items() if name not in _KNOWN},
    )


def words(arguments: Sequence[Any] | None) -> list[str]:
    """Give arguments as text, numbers as Python writes them.

    Raises:
        UserError: One of them is neither text nor a number nor a path.
    """
    for argument in arguments or ():
        if not isinstance(argument, (str, int, float, Path)):
            raise UserError(
                f"argument {argument!r} is a {type(argument).__name__}; arguments are text, numbers and paths"
            )
    return [str(argument) for argument in arguments or ()]
