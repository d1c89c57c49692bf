"""What `run` and `plan` are asked for: a job file, a run configuration or a command, with the flags over it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from regiment.distribution.environment import masked
from regiment.distribution.tasks import node_slots
from regiment.jobs.checks import (
    check_module,
    check_mpirun_args,
    check_name,
    check_process_total,
    check_tasks,
    check_torchrun_args,
    default_experiment_name,
)
from regiment.jobs.complaints import check_prefix, complaints, named
from regiment.jobs.current_form import current_form
from regiment.jobs.dataclass import dataclass, field, replace
from regiment.jobs.errors import Fault, JobFileError, UserError
from regiment.jobs.registry import LOCAL, Compute, find_compute
from regiment.jobs.spec import (
    ArgvCommand,
    Binding,
    Distribution,
    JobSpec,
    Mpi,
    Options,
    Plain,
    PyTorch,
    Restarts,
    StartMethod,
    StopWhen,
    TensorFlow,
)
from regiment.jobs.tree import Place
from regiment.jobs.workspace import Workspace, find_workspace
from regiment.jobs.yamltext import yaml_text

from ..backends.machine import MOST_NODES, machine_shares
from ..lookup import looked_up
from ..programs import find_program
from .hosts import named_hosts

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """A job, and what there is to say about how it was read."""

    spec: JobSpec
    text: str
    """The job file as it is kept in the run folder."""
    notes: tuple[str, ...]
    places: Mapping[str, Place] = field(default_factory=dict)
    """Where the job file has which option."""
    compute: Compute = Compute(LOCAL, LOCAL)
    """Where it is to run."""


def read_request(options: argparse.Namespace) -> Request:
    """Give the job that is asked for, complete and checked; everything wrong with it is a UserError."""
    if options.runconfig is not None:
        request = _from_runconfig(options)
    elif options.job_file is not None and options.command_argv is not None:
        raise UserError(f"give a job file ({options.job_file}) or a command after --, not both")
    elif options.job_file is not None:
        request = _from_file(options)
    elif options.command_argv:
        request = _from_command(options)
    else:
        raise UserError("nothing to run; name a job file, or give a command: regiment run -- python train.py")
    spec = _with_flags(request.spec, options)
    _check_options(spec, options, request.places)
    notes = (*request.notes, *_environment_note(spec))
    spec = looked_up(spec, workspace_of(options), options.inputs)
    compute = find_compute(workspace_of(options), spec.compute)
    is_emulated = options.emulated and compute.type == LOCAL and named_hosts(options) is None
    check_size(spec, MOST_NODES if is_emulated else None)
    check_prefix_ranks(spec, options, request.places)
    return Request(spec, request.text or job_file_of(spec), notes, request.places, compute)


def check_size(spec: JobSpec, most_nodes: int | None = MOST_NODES) -> None:
    """See that there are not more nodes and processes than there can be; nodes that are machines have no limit."""
    if most_nodes is not None and spec.instance_count > most_nodes:
        raise UserError(f"{spec.instance_count:,} nodes are more than the {most_nodes} that one machine can emulate")
    match spec.distribution:
        case TensorFlow() as tasks:
            check_tasks(tasks, spec.instance_count)
        case PyTorch(process_count_per_instance=int(count)) | Mpi(process_count_per_instance=count):
            check_process_total(spec.instance_count, count)


def _check_options(spec: JobSpec, options: argparse.Namespace, places: Mapping[str, Place]) -> None:
    given = [key for key in ("start_method",) if _is_given(key, options)]
    for key, complaint in complaints(spec.distribution, spec.options, given):
        raise _wrong_option(key, complaint, options, places)


def check_prefix_ranks(spec: JobSpec, options: argparse.Namespace, places: Mapping[str, Place]) -> None:
    """See that the job has the ranks that its prefix is for; only with all flags its size is known."""
    count = sum(node_slots(spec))
    beyond = [rank for rank in spec.options.prefix_ranks or () if rank >= count]
    if beyond:
        raise _wrong_option("prefix_ranks", f"there is no rank {beyond[0]}; {_ranks_of(count)}", options, places)


def check_prefix_program(request: Request, options: argparse.Namespace) -> None:
    """See that the prefix is a program where that can be known now, on the machine that all the nodes are."""
    spec = request.spec
    name = next(iter(spec.options.prefix), "")
    in_path, is_absolute = "/" not in name, name.startswith("/")
    # A relative path starts in the processes' folder, which there is not yet.
    if not name or "{" in name or not (in_path or is_absolute) or "PATH" in spec.environment_variables:
        return
    if find_program(name) is None:
        what = "is no program in PATH; install it, or give its path" if in_path else "is no program; correct the path"
        raise _wrong_option("prefix", f"{name!r} {what}", options, request.places)


def _wrong_option(
    key: str, message: str, options: argparse.Namespace, places: Mapping[str, Place]
) -> UserError | JobFileError:
    """Make the error about an option, which is a flag's or, where there is none for it, the job file's."""
    if key in places and not _is_given(key, options):
        place = places[key]
        return JobFileError((Fault(place.file, place.line, f"regiment.{key}", message),))
    return UserError(f"--{_flag_of(key).replace('_', '-')}: {message}")


def _is_given(key: str, options: argparse.Namespace) -> bool:
    # `validate` has none of these flags.
    return getattr(options, _flag_of(key), None) not in (None, [])


def _flag_of(key: str) -> str:
    """Give what the flag for an option is called: a list's may be repeated, and is called after one of it."""
    return key.removesuffix("s") if key.endswith("_args") else key


def check_interactive(spec: JobSpec, options: argparse.Namespace) -> None:
    """See that there can be a session with the rank before anything is made."""
    count = sum(node_slots(spec))
    if options.detach:
        raise UserError("--interactive needs this terminal until the run ends; leave --detach out")
    if spec.options.min_nodes is not None:
        raise UserError("--interactive: the ranks of an elastic job change; give a fixed number of nodes, --nodes N")
    if spec.options.restarts.max or spec.options.restarts.infrastructure:
        raise UserError("--interactive: a session has one attempt; leave restarts out, --max-restarts 0")
    if options.interactive >= count:
        raise UserError(f"--interactive: there is no rank {options.interactive}; {_ranks_of(count)}")


def _ranks_of(count: int) -> str:
    return "this job has rank 0 only" if count == 1 else f"this job has ranks 0 to {count - 1}"


def workspace_of(options: argparse.Namespace) -> Workspace:
    """Give the workspace that a command is about."""
    return find_workspace(options.workspace, os.environ, Path.cwd())


def job_file_of(spec: JobSpec) -> str:
    """Write the job file that a command stands for, without the values of secrets."""
    shown = replace(spec, environment_variables=masked(spec.environment_variables))
    return yaml_text(current_form(shown))


def _from_file(options: argparse.Namespace) -> Request:
    from regiment.jobs.loader import load_job

    job = load_job(Path(options.job_file), options.overrides, Path.cwd(), lenient=options.lenient)
    return Request(job.spec, job.text, job.notes, job.options)


def _from_runconfig(options: argparse.Namespace) -> Request:
    from regiment.jobs.loader import load_runconfig
    from regiment.jobs.runconfig_files import find_runconfig

    if options.job_file is not None:
        raise UserError(f"-c takes a script, not a job file ({options.job_file}): regiment run -c NAME train.py")
    script, *arguments = options.command_argv or [None]
    path = find_runconfig(options.runconfig, Path.cwd())
    job = load_runconfig(path, script, arguments, options.overrides, Path.cwd(), lenient=options.lenient)
    return Request(job.spec, "", job.notes)


def _from_command(options: argparse.Namespace) -> Request:
    if options.overrides:
        raise UserError("--set changes keys of a job file; with a command use the flags instead")
    folder = Path.cwd()
    spec = JobSpec(
        command=ArgvCommand(tuple(options.command_argv)),
        experiment_name=default_experiment_name(folder),
        working_folder=str(folder),
    )
    return Request(spec, "", ())


def _with_flags(spec: JobSpec, options: argparse.Namespace) -> JobSpec:
    """Put the flags over what the file says."""
    fewest, most = options.nodes or (None, None)
    changes = {
        "name": _checked("--name", check_name, options.name),
        "experiment_name": _checked("--experiment", check_name, options.experiment),
        "instance_count": most or _host_count(options),
        "timeout": options.timeout,
        "compute": options.compute,
        "code": options.code and _code_folder(options.code),
    }
    spec = replace(spec, **{key: value for key, value in changes.items() if value is not None})
    own = _options(spec, options)
    if most is not None:
        own = replace(own, min_nodes=fewest)
    return replace(
        spec,
        distribution=_distribution(spec, options),
        environment_variables={**spec.environment_variables, **_variables(options.env)},
        options=own,
    )


def _host_count(options: argparse.Namespace) -> int | None:
    """Give how many hosts the command line names: without another word a run has all of them."""
    found = named_hosts(options)
    return None if found is None else len(found.names)


def _distribution(spec: JobSpec, options: argparse.Namespace) -> Distribution:
    distribution = spec.distribution
    if options.type is not None and options.type != distribution.type:
        distribution = _NEW_DISTRIBUTIONS[options.type](spec)
    if isinstance(distribution, TensorFlow):
        distribution = _with_tasks(distribution, options)
    else:
        _refuse_tasks(distribution, options)
    if options.nproc is None:
        return _with_slots(distribution, options)
    count = _process_count(options.nproc, spec.instance_count if options.emulated else 1)
    if isinstance(distribution, Plain):
        if count == 1:
            return distribution
        raise UserError(f"--nproc {options.nproc} needs to know what kind of processes: add --type pytorch, or mpi")
    if not isinstance(distribution, (PyTorch, Mpi)):
        use = "; use --workers" if isinstance(distribution, TensorFlow) else ""
        raise UserError(f"--nproc: expected only with types pytorch and mpi; this job has {named(distribution)}{use}")
    return replace(distribution, process_count_per_instance=count)


def _with_slots(distribution: Distribution, options: argparse.Namespace) -> Distribution:
    """Put in how many processes the hosts were named with."""
    found = named_hosts(options)
    if found is None or found.slots is None or not isinstance(distribution, (PyTorch, Mpi)):
        return distribution
    return replace(distribution, process_count_per_instance=found.slots)


_NEW_DISTRIBUTIONS: Mapping[str, Callable[[JobSpec], Distribution]] = {
    "pytorch": lambda spec: PyTorch(),
    "mpi": lambda spec: Mpi(),
    "tensorflow": lambda spec: TensorFlow(worker_count=spec.instance_count),
}
_TASK_FLAGS = {
    "workers": "worker_count",
    "parameter_servers": "parameter_server_count",
    "chief": "chief",
    "evaluator": "evaluator",
}
"""Flags for the tasks of a TensorFlow job, and what they are called in the spec."""


def _with_tasks(distribution: TensorFlow, options: argparse.Namespace) -> TensorFlow:
    given = {name: getattr(options, flag) for flag, name in _TASK_FLAGS.items()}
    return replace(distribution, **{name: value for name, value in given.items() if value is not None})


def _refuse_tasks(distribution: Distribution, options: argparse.Namespace) -> None:
    for flag in _TASK_FLAGS:
        if getattr(options, flag) is not None:
            name, own = flag.replace("_", "-"), named(distribution)
            raise UserError(f"--{name}: expected only with type tensorflow; this job has {own}; add --type tensorflow")


def _process_count(wanted: int | str, node_count: int) -> int:
    if isinstance(wanted, int):
        return wanted
    share = machine_shares(node_count)[0]
    if wanted == "gpu" and not share.gpus:
        raise UserError("--nproc gpu: this machine shows no GPU; give a number, or auto")
    return len(share.gpus) if share.gpus else len(share.cpus)


def _options(spec: JobSpec, options: argparse.Namespace) -> Options:
    given: dict[str, Any] = {
        "start_method": options.start_method and StartMethod(options.start_method),
        "preload": _modules(options.preload),
        "stop_when": options.stop_when and StopWhen(options.stop_when),
        "bind": options.bind and Binding(options.bind),
        "grace": options.grace,
        "ledger": options.ledger,
        "restarts": _restarts(spec.options.restarts, options.max_restarts),
        "mpirun": options.mpirun,
        "prefix": _prefix(options.prefix),
        "prefix_ranks": options.prefix_ranks,
    }
    own = replace(spec.options, **{key: value for key, value in given.items() if value is not None})
    _checked("--torchrun-arg", check_torchrun_args, options.torchrun_arg)
    _checked("--mpirun-arg", check_mpirun_args, options.mpirun_arg)
    return replace(
        own,
        torchrun_args=(*own.torchrun_args, *options.torchrun_arg),
        mpirun_args=(*own.mpirun_args, *options.mpirun_arg),
    )


def _modules(names: list[str] | None) -> tuple[str, ...] | None:
    for name in names or ():
        _checked("--preload", check_module, name)
    return None if names is None else tuple(names)


def _restarts(restarts: Restarts, count: int | None) -> Restarts | None:
    if count is None:
        return None
    from regiment.jobs.supervision import check_restarts

    _checked("--max-restarts", check_restarts, count)
    return replace(restarts, max=count)


def _prefix(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"--prefix {text!r}: {str(error).lower()}") from None
    return _checked("--prefix", check_prefix, words)


def _variables(flags: list[str]) -> dict[str, str]:
    variables = {}
    for flag in flags:
        name, equals, value = flag.partition("=")
        if not name or "\0" in flag:
            raise UserError(f"--env {flag!r}: write NAME=VALUE, or NAME to pass on your own value")
        if not equals and name not in os.environ:
            raise UserError(f"--env {name}: there is no such variable here to pass on; write {name}=VALUE")
        variables[name] = value if equals else os.environ[name]
    return variables


def _checked(flag: str, check: Callable[[T], Any], value: T | None) -> T | None:
    """Check a flag's value as the same value in a job file is checked, naming the flag if it is wrong."""
    try:
        if value is not None:
            check(value)
    except UserError as error:
        raise UserError(f"{flag}: {error}") from None
    return value


def _code_folder(text: str) -> str:
    folder = Path(text).resolve()
    if not folder.is_dir():
        raise UserError(f"--code {text}: there is no such folder")
    return str(folder)


def _environment_note(spec: JobSpec) -> tuple[str, ...]:
    if spec.environment is None:
        return ()
    return (f"environment '{spec.environment}' is not known to the workspace; running with {sys.executable}",)
