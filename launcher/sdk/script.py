"""A script with everything that it takes to run it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regiment.jobs.errors import UserError

from .environment import DockerConfiguration, Environment
from .runconfig import DistributedJobConfiguration, RunConfiguration, runconfig_keys, with_distribution, words

if TYPE_CHECKING:
    from .compute import ComputeTarget

_THIRTY_DAYS = 2592000


class ScriptRunConfig:
    """What `Experiment.submit` and `Run.submit_child` take, as `azureml.core.ScriptRunConfig` has it.

    Args:
        source_directory: The folder that is snapshotted and in whose copy the script starts (default: the current one).
        script: The script, relative to that folder. Either it or `command`.
        arguments: The script's arguments; numbers become text.
        run_config: How it is run; it is copied, so that later changes of `self.run_config` are this script's own.
        compute_target: Name of a compute target, or one of `Workspace.compute_targets`; None and `local`: here.
        environment: The environment.
        distributed_job_config: How many processes of what kind.
        resume_from: Not supported.
        max_run_duration_seconds: The run is cancelled after that many seconds; None for no limit.
        command: A command instead of a script: one line for the shell, or words.
        docker_runtime_config: How its container is run.

    Raises:
        UserError: There is both a script and a command, or neither, or an argument is no text.
    """

    def __init__(
        self,
        source_directory: str | Path | None = None,
        script: str | None = None,
        arguments: Sequence[Any] | None = None,
        run_config: RunConfiguration | None = None,
        _telemetry_values: object = None,
        compute_target: str | ComputeTarget | None = None,
        environment: Environment | None = None,
        distributed_job_config: DistributedJobConfiguration | None = None,
        resume_from: object = None,
        max_run_duration_seconds: float | None = _THIRTY_DAYS,
        command: str | Sequence[Any] | None = None,
        docker_runtime_config: DockerConfiguration | None = None,
    ) -> None:
        if resume_from is not None:
            raise UserError("resume_from is not supported; give the script the path of its checkpoint as an argument")
        if script is not None and command is not None:
            raise UserError("a ScriptRunConfig has a script or a command, not both; leave one of them out")
        self.source_directory = source_directory
        self.script = script
        self.arguments = list(arguments or ())
        self.command = command if isinstance(command, str) or command is None else list(command)
        self.run_config = copy.deepcopy(run_config) if run_config is not None else RunConfiguration()
        words(self.arguments)
        if compute_target is not None:
            self.run_config.target = compute_target if isinstance(compute_target, str) else compute_target.name
        if environment is not None:
            self.run_config.environment = environment
        if distributed_job_config is not None:
            with_distribution(self.run_config, distributed_job_config)
        if docker_runtime_config is not None:
            self.run_config.docker = docker_runtime_config
        if run_config is None or max_run_duration_seconds != _THIRTY_DAYS:
            self.run_config.max_run_duration_seconds = max_run_duration_seconds
        if not any((script, command, self.run_config.script, self.run_config.command)):
            raise UserError("a ScriptRunConfig needs a script or a command: ScriptRunConfig('.', script='train.py')")

    def runconfig(self) -> dict[str, Any]:
        """Give everything as the keys of a run configuration's file."""
        run_config = copy.copy(self.run_config)
        if self.script is not None or self.command is not None:
            run_config.script, run_config.command = self.script, self.command
        if self.arguments:
            run_config.arguments = self.arguments
        return runconfig_keys(run_config)
