"""What a script runs in, as Azure ML's first SDK describes it: a name, a Python, variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regiment.jobs.dataclass import dataclass, field

if TYPE_CHECKING:
    from .workspace import Workspace


@dataclass
class PythonSection:
    """The Python of an environment."""

    user_managed_dependencies: bool = False
    """Whether the Python is used as it is. Regiment always does that."""
    interpreter_path: str = "python"
    """Path of the Python, or its name in the job's PATH."""
    conda_dependencies_file: str | None = None
    """A conda file. It is kept with the run."""


@dataclass
class DockerSection:
    """The container of an environment."""

    enabled: bool = False
    base_image: str | None = None
    shm_size: str | None = None
    """Such as `2g`."""
    arguments: list[str] = field(default_factory=list)


@dataclass
class DockerConfiguration:
    """How a script's container is run (`docker_runtime_config`)."""

    use_docker: bool = False
    shared_volumes: bool = True
    arguments: list[str] = field(default_factory=list)
    shm_size: str | None = None
    """Such as `2g`."""


@dataclass
class Environment:
    """An environment by name; nothing is looked up or built before a run starts.

    The shape is that of `azureml.core.Environment`. What applies to a run on this machine is its Python
    (`python.interpreter_path`) and its variables; a name, an image or a conda file is kept with the run.
    """

    name: str | None = None
    version: str | None = None
    environment_variables: dict[str, str] = field(default_factory=dict)
    python: PythonSection = field(default_factory=PythonSection)
    docker: DockerSection = field(default_factory=DockerSection)

    @staticmethod
    def get(workspace: Workspace, name: str, version: str | None = None) -> Environment:
        """Give the environment of that name, such as one of Azure ML's curated ones; its Python is the current one."""
        return Environment(name, version)

    @staticmethod
    def from_conda_specification(name: str, file_path: str) -> Environment:
        """Give an environment that a conda file describes."""
        environment = Environment(name)
        environment.python.conda_dependencies_file = str(Path(file_path).absolute())
        return environment

    @staticmethod
    def from_existing_conda_environment(name: str, conda_environment_name: str) -> Environment:
        """Give the environment of that name, for the Python that runs now."""
        environment = Environment(name)
        environment.python.user_managed_dependencies = True
        return environment


def environment_keys(environment: Environment) -> dict[str, Any]:
    """Give an environment as the keys of a run configuration's file; what says nothing is left out."""
    python, docker = environment.python, environment.docker
    return without_nothing(
        {
            "name": environment.name,
            "version": environment.version,
            "environmentVariables": {name: str(value) for name, value in environment.environment_variables.items()},
            "python": without_nothing(
                {
                    "userManagedDependencies": python.user_managed_dependencies,
                    "interpreterPath": None if python.interpreter_path == "python" else python.interpreter_path,
                    "condaDependenciesFile": python.conda_dependencies_file,
                }
            ),
            "docker": without_nothing(
                {
                    "enabled": docker.enabled,
                    "baseImage": docker.base_image,
                    "shmSize": docker.shm_size,
                    "arguments": list(docker.arguments),
                }
            ),
        }
    )


def environment_of(keys: Mapping[str, Any]) -> Environment:
    """Read the keys of a run configuration's file."""
    python, docker = keys.get("python") or {}, keys.get("docker") or {}
    return Environment(
        name=keys.get("name"),
        version=keys.get("version"),
        environment_variables=dict(keys.get("environmentVariables") or {}),
        python=PythonSection(
            bool(python.get("userManagedDependencies")),
            python.get("interpreterPath") or "python",
            python.get("condaDependenciesFile"),
        ),
        docker=DockerSection(
            bool(docker.get("enabled")),
            docker.get("baseImage"),
            docker.get("shmSize"),
            list(docker.get("arguments") or ()),
        ),
    )


def without_nothing(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is as good as not given."""
    return {name: value for name, value in keys.items() if value not in (None, False, [], {})}
