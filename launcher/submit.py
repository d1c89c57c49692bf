"""Makes a run out of a job: its folder, its snapshot, its record, and the coordinator that sees it through."""

from __future__ import annotations

import importlib.util
import os
import pwd
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from regiment.distribution.spreading import FEWEST_NODES
from regiment.distribution.tasks import node_slots
from regiment.jobs.changes import changing
from regiment.jobs.current_form import command_text
from regiment.jobs.dataclass import dataclass, replace
from regiment.jobs.errors import UserError
from regiment.jobs.files import private_folder, replace_file
from regiment.jobs.lock import RecordLock, lock_new
from regiment.jobs.record import CoordinatorRecord, RunRecord, RunStatus, read_record, utc_text, write_record
from regiment.jobs.spec import ContainerRuntime, JobSpec, starts_through_torchrun
from regiment.jobs.workspace import RunFolder, Workspace

from .bundle import packed_agent
from .coordinator.files import check_files
from .coordinator.hosts import Hosts
from .coordinator.network import Network
from .coordinator.order import Order
from .coordinatorstart import CoordinatorProcess
from .making import make_folder, new_run_id, this_process
from .mpi import find_mpirun
from .node.messages import Terminal
from .provenance import record_provenance, snapshot_notes, snapshot_properties
from .trust import check_is_ours


@dataclass(frozen=True)
class Submission:
    """A run that has just been taken up."""

    folder: RunFolder
    connection: socket.socket
    """To its coordinator; for an attached run its life line."""
    notes: tuple[str, ...]
    """What there is to say about its snapshot."""


@dataclass(frozen=True)
class Joining:
    """How a run's other nodes come to it."""

    network: Network
    listener: socket.socket
    """The socket that they connect to."""


@dataclass(frozen=True)
class Origin:
    """Where a run comes from, if not from a shell."""

    parent_run_id: str | None = None
    script: str | None = None
    """Of a `ScriptRunConfig`, as its other two."""
    arguments: tuple[str, ...] = ()
    source_directory: str | None = None


def submit(
    spec: JobSpec,
    job_text: str,
    workspace: Workspace,
    *,
    attached: bool,
    terminal: Terminal | None = None,
    origin: Origin | None = None,
    coordinator: CoordinatorProcess | None = None,
    joining: Joining | None = None,
    hosts: Hosts | None = None,
) -> Submission:
    """Make the run's folder, snapshot its code, give it to a coordinator and wait until that has taken it up.

    `terminal` is where one of its ranks reads and prints, if somebody wants it to himself. `coordinator` is one that
    has been started already. With `joining` the run's other nodes come over a network; with `hosts` all
    are reached over ssh.
    """
    check_launcher(spec)
    if spec.options.container.runtime is not ContainerRuntime.NONE:
        raise UserError(
            "regiment.container: only nodes of Slurm's are put into a container; leave it out, or submit to a compute "
            "target of type slurm"
        )
    check_files(spec.instance_count)
    mpirun = find_mpirun(spec, has_srun=False)
    run_id = make_workspace(spec, workspace)
    coordinator = coordinator or CoordinatorProcess(packed_agent(workspace.cache))
    folder, lock, notes = make_run(spec, job_text, workspace, run_id, attached=attached, origin=origin)
    order = Order(
        spec=replace(spec, code=spec.code or spec.code_url),
        workspace=str(workspace.root),
        run_id=folder.run_id,
        attached=attached,
        zip=str(coordinator.zip),
        python=hosts.python if hosts else sys.executable,
        agent_python=sys.executable,
        mpirun=mpirun,
        terminal=terminal,
        network=joining.network if joining else None,
        hosts=with_credentials(hosts) if hosts else None,
    )
    with lock:
        listener = joining.listener if joining else None
        return Submission(folder, coordinator.take_up(order, folder, lock, listener), notes)


def make_run(
    spec: JobSpec,
    job_text: str,
    workspace: Workspace,
    run_id: str,
    *,
    attached: bool,
    origin: Origin | None = None,
    finish: Callable[[RunFolder], None] = lambda folder: None,
) -> tuple[RunFolder, RecordLock, tuple[str, ...]]:
    """Make a run's folder and take the lock on its record; gives what there is to say about its snapshot, too.

    `finish` does what else has to succeed for there to be such a run.
    """
    with changing(workspace, [run_id]):
        folder = make_folder(workspace, run_id)
        try:
            lock = lock_new(folder.lock)
            notes = _fill_folder(spec, job_text, workspace, folder, attached, origin or Origin())
            finish(folder)
        except BaseException:
            # A run that was never started leaves nothing, and its name is free again.
            _remove(folder)
            raise
    return folder, lock, notes


def _fill_folder(
    spec: JobSpec, job_text: str, workspace: Workspace, folder: RunFolder, attached: bool, origin: Origin
) -> tuple[str, ...]:
    """Write the record, the job and the snapshot; gives what there is to say about the snapshot."""
    record = _with_origin(_first_record(spec, folder, attached), workspace, origin)
    write_record(folder.record, record)
    replace_file(folder.job_file, job_text)
    if spec.code is None and spec.code_url is None:
        found, notes = record_provenance(spec, Path(spec.working_folder or "."), workspace.root, folder)
    else:
        found, notes = _take_code(spec, workspace, folder)
    write_record(folder.record, replace(record, properties={**record.properties, **found}))
    return notes


def _take_code(spec: JobSpec, workspace: Workspace, folder: RunFolder) -> tuple[dict[str, str], tuple[str, ...]]:
    """Snapshot the code; gives properties that say what it was, and what there is to say about it."""
    from regiment.jobs.snapshot import take_snapshot

    def take(code: Path) -> tuple[dict[str, str], tuple[str, ...]]:
        snapshot = take_snapshot(code, workspace.store, folder.code, (workspace.root,))
        properties, notes = record_provenance(spec, code, workspace.root, folder)
        return {**snapshot_properties(snapshot), **properties}, (*snapshot_notes(snapshot), *notes)

    if spec.code is not None:
        return take(Path(spec.code))
    from .gitcode import fetched

    with fetched(str(spec.code_url), workspace.cache) as code:
        return take(code)


def with_credentials(hosts: Hosts) -> Hosts:
    """Let hosts pass the snapshot on to each other, where there are enough of them and this Python can make keys."""
    if len(hosts.names) < FEWEST_NODES or importlib.util.find_spec("cryptography") is None:
        return hosts
    from .join.certificate import make_certificate
    from .node.passing import Credentials
    from .node.runkey import KEY_BYTES

    return replace(hosts, credentials=Credentials(os.urandom(KEY_BYTES).hex(), *make_certificate()))


def check_launcher(spec: JobSpec) -> None:
    """See that what starts the processes is there, before anything is made."""
    if starts_through_torchrun(spec.distribution, spec.options) and importlib.util.find_spec("torch") is None:
        raise UserError(
            f"distribution type pytorch starts through torchrun, and {sys.executable} has no torch; "
            "install it there (pip install torch), or use --start-method spawn"
        )


def make_workspace(spec: JobSpec, workspace: Workspace) -> str:
    """Make the folders that all runs share, and give this one's id."""
    try:
        for path in (workspace.runs, workspace.store, workspace.cache):
            private_folder(path)
            check_is_ours(path)
        check_is_ours(workspace.root)
    except OSError as error:
        raise UserError(
            f"{workspace.root} cannot be the workspace: {error.strerror}; name another with --workspace"
        ) from None
    return spec.name or new_run_id(spec.experiment_name)


def _first_record(spec: JobSpec, folder: RunFolder, attached: bool) -> RunRecord:
    owner = this_process()
    return RunRecord(
        run_id=folder.run_id,
        experiment_name=spec.experiment_name,
        display_name=spec.display_name,
        description=spec.description,
        status=RunStatus.NOT_STARTED,
        created_utc=utc_text(time.time()),
        command=command_text(spec),
        target=spec.compute,
        distribution=spec.distribution.type,
        instance_count=spec.instance_count,
        process_count=sum(node_slots(spec)),
        attached=attached,
        tags=dict(spec.tags),
        properties=dict(spec.properties),
        submitted_by=_user_name(),
        source_directory=spec.code or spec.code_url or spec.working_folder,
        environment_names=tuple(sorted(spec.environment_variables)),
        # Until the coordinator has taken over, this process is the run's owner.
        coordinator=CoordinatorRecord(owner.pid, owner.start_ticks, owner.boot_id, owner.host, None),
    )


def _with_origin(record: RunRecord, workspace: Workspace, origin: Origin) -> RunRecord:
    root = None
    if origin.parent_run_id is not None:
        root = read_record(workspace.existing_run(origin.parent_run_id).record).root_run_id or origin.parent_run_id
    return replace(
        record,
        parent_run_id=origin.parent_run_id,
        root_run_id=root,
        script=origin.script,
        arguments=origin.arguments,
        source_directory=origin.source_directory,
    )


def _remove(folder: RunFolder) -> None:
    from shutil import rmtree  # It takes longer to import than most of this.

    rmtree(folder.root, ignore_errors=True)


def _user_name() -> str | None:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return None  # A container's made-up user has no name.
