"""A job written down in the current form of the job file, whatever it was made from."""

from __future__ import annotations

import shlex
from enum import Enum
from typing import Any

from .data import DataInput, Input, LiteralInput, Output
from .dataclass import fields
from .parameter_form import plain_literal, plain_parameter
from .spec import (
    ArgvCommand,
    Container,
    Distribution,
    EarlyExit,
    Environment,
    JobSpec,
    Mpi,
    Options,
    Plain,
    PyTorch,
    Ray,
    Restarts,
    ShellCommand,
    TensorFlow,
)
from .sweep import Bandit, EarlyTermination, MedianStopping, Sampling, SamplingRule, Sweep, TruncationSelection

Keys = dict[str, Any]
"""Keys of a job file with their values."""


def current_form(spec: JobSpec) -> Keys:
    """Give the job file's keys and values; what is not set is left out."""
    keys = _command_job(spec) if spec.sweep is None else _sweep_job(spec, spec.sweep)
    return _given(keys)


def command_text(spec: JobSpec) -> str:
    """Give the command as a person would type it into a shell."""
    match spec.command:
        case ShellCommand(text):
            return text
        case ArgvCommand(argv):
            return shlex.join(argv)


def _command_job(spec: JobSpec) -> Keys:
    limits = _given({"timeout": _seconds(spec.timeout)})
    return {"type": "command", **_common(spec), **_program(spec), "limits": limits, "regiment": _options(spec)}


def _sweep_job(spec: JobSpec, sweep: Sweep) -> Keys:
    return {
        "type": "sweep",
        **_common(spec),
        "trial": _given(_program(spec)),
        "search_space": {name: plain_parameter(parameter) for name, parameter in sweep.search_space.items()},
        "objective": {"primary_metric": sweep.objective.primary_metric, "goal": sweep.objective.goal.value},
        "sampling_algorithm": _sampling(sweep.sampling),
        "limits": _given(
            {
                "max_total_trials": sweep.limits.max_total_trials,
                "max_concurrent_trials": sweep.limits.max_concurrent_trials,
                "timeout": _seconds(sweep.limits.timeout),
                "trial_timeout": _seconds(spec.timeout),
            }
        ),
        "early_termination": _early_termination(sweep.early_termination),
        "regiment": _options(spec),
    }


def _common(spec: JobSpec) -> Keys:
    return {
        "name": spec.name,
        "display_name": spec.display_name,
        "experiment_name": spec.experiment_name,
        "description": spec.description,
        "tags": dict(spec.tags),
        "properties": dict(spec.properties),
        "inputs": {name: _input(found) for name, found in spec.inputs.items()},
        "outputs": {name: _output(found) for name, found in spec.outputs.items()},
        "compute": spec.compute,
        "resources": {"instance_count": spec.instance_count} if spec.instance_count != 1 else None,
    }


def _program(spec: JobSpec) -> Keys:
    return {
        "command": command_text(spec),
        "code": spec.code or spec.code_url,
        "environment": None if spec.environment is None else _environment(spec.environment),
        "environment_variables": dict(spec.environment_variables),
        "distribution": _distribution(spec.distribution),
    }


def _environment(environment: Environment) -> str | Keys:
    if environment.name is not None:
        return environment.name
    conda = environment.conda_file if environment.conda is None else dict(environment.conda)
    build = _given({"path": environment.build_path, "dockerfile_path": environment.dockerfile_path})
    return _given({"image": environment.image, "conda_file": conda, "build": build})


def _input(found: Input) -> Any:
    match found:
        case LiteralInput():
            return plain_literal(found)
        case DataInput(path, kind, mode):
            return {"type": kind, "path": path, "mode": mode.value}


def _output(found: Output) -> Keys:
    return _given({"type": found.kind, "mode": found.mode.value, "path": found.path})


def _distribution(distribution: Distribution) -> Keys | None:
    match distribution:
        case PyTorch(count):
            return _given({"type": "pytorch", "process_count_per_instance": count})
        case Mpi(count):
            return {"type": "mpi", "process_count_per_instance": count}
        case TensorFlow(workers, servers):
            return _given({"type": "tensorflow", "worker_count": workers, "parameter_server_count": servers or None})
        case Ray():
            names = (
                "port address include_dashboard dashboard_port head_node_additional_args worker_node_additional_args"
            )
            return _given({"type": "ray", **{name: getattr(distribution, name) for name in names.split()}})
        case Plain():
            return None


def _sampling(sampling: Sampling) -> str | Keys:
    rule = None if sampling.rule is SamplingRule.RANDOM else sampling.rule.value
    found = _given({"type": sampling.kind.value, "seed": sampling.seed, "rule": rule, "logbase": sampling.logbase})
    return sampling.kind.value if len(found) == 1 else found


def _early_termination(policy: EarlyTermination | None) -> Keys | None:
    if policy is None:
        return None
    when = {"evaluation_interval": policy.evaluation_interval, "delay_evaluation": policy.delay_evaluation}
    match policy:
        case Bandit(factor, amount):
            return _given({"type": "bandit", "slack_factor": factor, "slack_amount": amount, **when})
        case MedianStopping():
            return {"type": "median_stopping", **when}
        case TruncationSelection(percentage):
            excluded = policy.exclude_finished_jobs or None
            found = {"type": "truncation_selection", "truncation_percentage": percentage, **when}
            return _given({**found, "exclude_finished_jobs": excluded})


def _options(spec: JobSpec) -> Keys:
    options, usual = spec.options, Options()
    tasks = spec.distribution if isinstance(spec.distribution, TensorFlow) else None
    found: Keys = {
        "start_method": options.start_method,
        "preload": options.preload,
        "torchrun_args": options.torchrun_args,
        "nodes": None if options.min_nodes is None else f"{options.min_nodes}:{spec.instance_count}",
        "chief": (tasks is not None and tasks.chief) or None,
        "evaluator": (tasks is not None and tasks.evaluator) or None,
        "stop_when": options.stop_when,
        "mpirun": options.mpirun,
        "mpirun_args": options.mpirun_args,
        "prefix": options.prefix,
        "prefix_ranks": options.prefix_ranks,
        "bind": options.bind,
        "grace": options.grace,
        "restarts": options.restarts,
        "early_exit": options.early_exit,
        "preemption_grace": options.preemption_grace,
        "requeue": options.requeue,
        "ledger": options.ledger,
        "container": options.container,
        "slurm": dict(options.slurm),
    }
    given = {key: value for key, value in found.items() if value != getattr(usual, key, None)}
    return {key: _plain(value) for key, value in given.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (Restarts, EarlyExit, Container)):
        return _changed(value)
    return list(value) if isinstance(value, tuple) else value


def _changed(value: Restarts | EarlyExit | Container) -> Any:
    """Write what differs from the usual; a mere number of restarts as that number."""
    usual = type(value)()
    names = [each.name for each in fields(value)]
    found = {name: _plain(getattr(value, name)) for name in names if getattr(value, name) != getattr(usual, name)}
    return found["max"] if list(found) == ["max"] else found


def _seconds(seconds: float | None) -> float | None:
    """Write whole seconds as people do, without a point."""
    return int(seconds) if seconds is not None and seconds.is_integer() else seconds


def _given(keys: Keys) -> Keys:
    """Leave out what is not set."""
    return {key: value for key, value in keys.items() if value is not None and value != {}}
