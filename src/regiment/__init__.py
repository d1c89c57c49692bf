"""Regiment launches distributed training: one job file, any machines, every run on record.

What a Python program needs of it is here by name, and imported when it is asked for: `from regiment import Run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regiment.jobs.errors import RegimentError as RegimentError
    from regiment.jobs.errors import RunFailed as RunFailed
    from regiment.jobs.errors import UserError as UserError
    from regiment.launcher.sdk.compute import ComputeTarget as ComputeTarget
    from regiment.launcher.sdk.environment import DockerConfiguration as DockerConfiguration
    from regiment.launcher.sdk.environment import Environment as Environment
    from regiment.launcher.sdk.experiment import Experiment as Experiment
    from regiment.launcher.sdk.run import Run as Run
    from regiment.launcher.sdk.run import ScriptRun as ScriptRun
    from regiment.launcher.sdk.runconfig import MpiConfiguration as MpiConfiguration
    from regiment.launcher.sdk.runconfig import PyTorchConfiguration as PyTorchConfiguration
    from regiment.launcher.sdk.runconfig import RunConfiguration as RunConfiguration
    from regiment.launcher.sdk.runconfig import TensorflowConfiguration as TensorflowConfiguration
    from regiment.launcher.sdk.script import ScriptRunConfig as ScriptRunConfig
    from regiment.launcher.sdk.workspace import Workspace as Workspace

__version__ = "0.1.0"
VERSION = __version__
"""As `azureml.core.VERSION`."""

_PLACES = {
    "ComputeTarget": "launcher.sdk.compute",
    "DockerConfiguration": "launcher.sdk.environment",
    "Environment": "launcher.sdk.environment",
    "Experiment": "launcher.sdk.experiment",
    "MpiConfiguration": "launcher.sdk.runconfig",
    "PyTorchConfiguration": "launcher.sdk.runconfig",
    "RegimentError": "jobs.errors",
    "Run": "launcher.sdk.run",
    "RunConfiguration": "launcher.sdk.runconfig",
    "RunFailed": "jobs.errors",
    "ScriptRun": "launcher.sdk.run",
    "ScriptRunConfig": "launcher.sdk.script",
    "TensorflowConfiguration": "launcher.sdk.runconfig",
    "UserError": "jobs.errors",
    "Workspace": "launcher.sdk.workspace",
}
"""The module of each public name; a job's process pays for those it uses only."""

__all__ = [
    "VERSION",
    "ComputeTarget",
    "DockerConfiguration",
    "Environment",
    "Experiment",
    "MpiConfiguration",
    "PyTorchConfiguration",
    "RegimentError",
    "Run",
    "RunConfiguration",
    "RunFailed",
    "ScriptRun",
    "ScriptRunConfig",
    "TensorflowConfiguration",
    "UserError",
    "Workspace",
    "__version__",
]


def __getattr__(name: str) -> object:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'regiment' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{place}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
