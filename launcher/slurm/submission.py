"""Makes a run and submits it as one job of Slurm's; from then on it needs nobody here any more."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable

from regiment.distribution.slurm.script import Target, sbatch_script
from regiment.jobs.changes import changing
from regiment.jobs.dataclass import dataclass, replace
from regiment.jobs.errors import UserError
from regiment.jobs.files import private_folder, replace_file, replace_json
from regiment.jobs.plain import to_plain
from regiment.jobs.record import RunStatus, SchedulerRecord, read_record, write_record
from regiment.jobs.registry import Compute
from regiment.jobs.spec import JobSpec
from regiment.jobs.workspace import RunFolder, Workspace

from ..bundle import packed_agent
from ..node.runkey import make_key
from ..submit import Origin, make_run, make_workspace
from . import commands


@dataclass(frozen=True)
class Submitted:
    """A run that Slurm has in its queue."""

    folder: RunFolder
    job_id: str
    notes: tuple[str, ...]
    """What there is to say about its snapshot."""


def submit_to_slurm(
    spec: JobSpec, job_text: str, workspace: Workspace, compute: Compute, origin: Origin | None = None
) -> Submitted:
    """Make the run's folder, snapshot its code and submit it.

    Raises:
        RegimentError: It cannot be submitted; then there is no such run.
    """
    if compute.python is None:
        _check_network()

    def put_into_queue(folder: RunFolder) -> SchedulerRecord:
        script = script_of(spec, folder, compute)
        replace_file(folder.batch_script, script)
        return SchedulerRecord("slurm", commands.sbatch(script))

    return _made(spec, job_text, workspace, put_into_queue, attached=False, origin=origin)


def take_allocation(spec: JobSpec, job_text: str, workspace: Workspace, job_id: str) -> Submitted:
    """Make the folder of a run whose nodes are those of a job that is there already, and snapshot its code.

    Raises:
        RegimentError: It cannot be made; then there is no such run.
    """
    _check_network()
    return _made(spec, job_text, workspace, lambda folder: SchedulerRecord("allocation", job_id), attached=True)


def _check_network() -> None:
    if importlib.util.find_spec("cryptography") is None:
        raise UserError(
            f"the run's nodes meet over the network, and {sys.executable} has no cryptography, which node 0 needs; "
            "install it there: pip install 'regiment[network]'"
        )


def _made(
    spec: JobSpec,
    job_text: str,
    workspace: Workspace,
    find_nodes: Callable[[RunFolder], SchedulerRecord],
    *,
    attached: bool,
    origin: Origin | None = None,
) -> Submitted:
    run_id = make_workspace(spec, workspace)
    packed_agent(workspace.cache)
    found: list[SchedulerRecord] = []

    def finish(folder: RunFolder) -> None:
        _write_what_node_0_needs(spec, folder)
        found.append(find_nodes(folder))

    folder, lock, notes = make_run(spec, job_text, workspace, run_id, attached=attached, origin=origin, finish=finish)
    # The job may have started already; who comes up on its node waits for the lock.
    with lock, changing(workspace, [run_id]):
        record = read_record(folder.record)
        write_record(folder.record, replace(record, status=RunStatus.QUEUED, scheduler=found[0], coordinator=None))
    return Submitted(folder, found[0].job_id, notes)


def script_of(spec: JobSpec, folder: RunFolder, compute: Compute) -> str:
    """Give the script for a run; the folder need not be there."""
    return sbatch_script(
        spec,
        Target(
            name=compute.name,
            sbatch=compute.sbatch,
            run_id=folder.run_id,
            folder=str(folder.own_logs.absolute()),
            log=str(folder.batch_log.absolute()),
            mounts=mounts_of(spec, folder),
            agent=agent_command(folder, compute.python, compute.start_timeout),
        ),
    )


def mounts_of(spec: JobSpec, folder: RunFolder) -> tuple[str, ...]:
    """Give the folders that the run's nodes have to see, in whatever they are."""
    # Without a snapshot the processes run in the user's own folder.
    own = spec.working_folder if spec.code is None and spec.code_url is None else None
    return (str(folder.workspace.root.absolute()), *(() if own is None else (own,)))


def agent_command(folder: RunFolder, python: str | None = None, start_timeout: float | None = None) -> tuple[str, ...]:
    """Give the command that is a node of the run, on whichever node it starts."""
    limit = () if start_timeout is None else ("--start-timeout", f"{start_timeout:g}")
    return (python or sys.executable, "-m", "regiment", "agent", "--run-folder", str(folder.root.absolute()), *limit)


def _write_what_node_0_needs(spec: JobSpec, folder: RunFolder) -> None:
    """Write what nobody can hand over to it: the job, secrets and all, and the key, both for this user alone."""
    private_folder(folder.own_logs)
    replace_json(folder.order, to_plain(replace(spec, code=spec.code or spec.code_url)))
    make_key(str(folder.key))
