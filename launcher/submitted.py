"""Runs that are not started from a shell: a script of the Python API's, or a job out of another job."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any, cast

from regiment.jobs.dataclass import dataclass, replace
from regiment.jobs.errors import JobFileError, RegimentError, UserError
from regiment.jobs.loader import load_keys
from regiment.jobs.plain import from_plain, to_plain
from regiment.jobs.registry import LOCAL, find_compute
from regiment.jobs.runconfig import runconfig
from regiment.jobs.spec import JobSpec
from regiment.jobs.workspace import Workspace

from .cli.hosts import SSH, hosts_of_target
from .cli.request import check_size, job_file_of
from .lookup import looked_up
from .operations import Submit, SubmitJob, SubmitScript
from .submit import Origin, submit


@dataclass(frozen=True)
class TakenUp:
    """A run that goes on by itself."""

    run_id: str
    workspace: str
    notes: tuple[str, ...]
    """What there is to say about how its job was read."""


def take_up(request: Submit, workspace: Workspace) -> TakenUp:
    """Start what is asked for, detached.

    Raises:
        RegimentError: It is not usable as it is, or cannot be started.
    """
    spec, text, notes, origin = _read(request, workspace)
    target = find_compute(workspace, spec.compute)
    if target.type == "slurm":
        from .slurm.submission import submit_to_slurm

        submitted = submit_to_slurm(spec, text, workspace, target, origin)
        return TakenUp(submitted.folder.run_id, str(workspace.root), (*notes, *submitted.notes))
    hosts = hosts_of_target(target, spec.instance_count) if target.type == SSH else None
    if hosts is None and target.type != LOCAL:
        raise UserError(
            f"compute target {target.name!r} is of type {target.type}, which programs and jobs cannot submit to yet; "
            f"use 'regiment run JOB.yml --compute {target.name}' in a shell"
        )
    submission = submit(spec, text, workspace, attached=False, origin=origin, hosts=hosts)
    submission.connection.close()
    return TakenUp(submission.folder.run_id, str(workspace.root), (*notes, *submission.notes))


def main() -> None:
    """Take one wish from standard input, a socket, answer on it, and end when the other side has heard."""
    connection = socket.socket(fileno=os.dup(0))
    wish = json.loads(_read_line(connection))
    try:
        request = cast(Submit, from_plain(cast(Any, Submit), wish["request"]))
        answer = to_plain(take_up(request, Workspace(Path(wish["workspace"]))))
    except RegimentError as error:
        answer = {"refusal": str(error), "exitStatus": int(error.exit_status)}
    connection.sendall(json.dumps(answer).encode() + b"\n")
    connection.recv(1)


def _read_line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part:
            sys.exit("regiment: nobody wants the run any more")
        data += part
    return data


_Read = tuple[JobSpec, str, tuple[str, ...], Origin]


def _read(request: Submit, workspace: Workspace) -> _Read:
    if isinstance(request, SubmitJob):
        return _with_own_code(request.spec, workspace), request.text, (), Origin(request.parent)
    spec, notes = spec_of(request)
    spec = looked_up(spec, workspace, ())
    check_size(spec)
    origin = Origin(
        parent_run_id=request.parent,
        script=request.keys.get("script"),
        arguments=tuple(request.keys.get("arguments") or ()),
        source_directory=request.source_directory,
    )
    return spec, job_file_of(spec), notes, origin


def _with_own_code(spec: JobSpec, workspace: Workspace) -> JobSpec:
    """Let a command work in a copy of its folder, where that is a job's own copy and goes with that job."""
    folder = spec.working_folder
    if folder is None or not Path(folder).is_relative_to((workspace.root / "scratch").absolute()):
        return spec
    return replace(spec, code=folder, working_folder=None)


def spec_of(request: SubmitScript) -> tuple[JobSpec, tuple[str, ...]]:
    """Read what is to be run, with what there is to say about it; everything wrong is one UserError."""
    try:
        job = load_keys(request.keys, "ScriptRunConfig", Path(request.source_directory), runconfig(None, ()))
    except JobFileError as error:
        # There is no file, and so no line to look at.
        raise UserError("\n".join(str(replace(fault, line=None)) for fault in error.faults)) from None
    spec = replace(
        job.spec,
        experiment_name=request.experiment_name,
        name=request.run_id,
        display_name=request.display_name,
        tags=dict(request.tags),
        properties=dict(request.properties),
    )
    return spec, job.notes
