"""The runs of a workspace, for the command line and for Python: making, changing and finding them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from regiment.jobs.changes import changing
from regiment.jobs.dataclass import dataclass, field
from regiment.jobs.edits import Edit, Finish, apply_edit
from regiment.jobs.errors import NodeError, UserError
from regiment.jobs.files import private_folder
from regiment.jobs.lock import RecordLock, try_lock
from regiment.jobs.record import Owner, RunRecord, RunStatus, RunType, read_record, utc_text, write_record
from regiment.jobs.requests import Cancel, Rejoin, Request, grant, leave, pending, refusal, refuse
from regiment.jobs.workspace import NAME_RULE, RunFolder, Workspace, is_name

from .listing import archived_experiments, experiment_names
from .listing import find_runs as find_runs
from .liveness import as_it_is, connect
from .making import make_folder, new_run_id
from .making import this_process as this_process
from .node import messages
from .node.channel import encode

_PATIENCE = 30.0
"""Seconds a coordinator may take to look at a request."""
_MOMENT = 0.005
"""Seconds until a request is looked for again."""


# --- making -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NewRun:
    """What a run that Python code keeps begins with."""

    run_id: str | None = None
    """None for a made one."""
    display_name: str | None = None
    tags: Mapping[str, str | None] = field(default_factory=dict)
    properties: Mapping[str, str | None] = field(default_factory=dict)
    status: RunStatus = RunStatus.RUNNING


def create_runs(
    workspace: Workspace, experiment: str, wanted: Sequence[NewRun], owner: Owner, parent: RunRecord | None = None
) -> tuple[RunFolder, ...]:
    """Make runs that Python code keeps, all or (where an id is taken) none; raises UserError."""
    for path in (workspace.runs, workspace.store, workspace.cache):
        private_folder(path)
    ids = [new.run_id or new_run_id(experiment) for new in wanted]
    made: list[RunFolder] = []
    try:
        with changing(workspace, ids):
            for run_id, new in zip(ids, wanted, strict=True):
                made.append(make_folder(workspace, run_id))
                write_record(made[-1].record, _first_record(run_id, experiment, new, owner, parent))
    except BaseException:
        for folder in made:
            _unmake(folder)
        raise
    return tuple(made)


def _unmake(folder: RunFolder) -> None:
    folder.record.unlink(missing_ok=True)
    try:
        folder.root.rmdir()
    except OSError:
        pass  # Somebody has put something into it meanwhile.


def _first_record(run_id: str, experiment: str, new: NewRun, owner: Owner, parent: RunRecord | None) -> RunRecord:
    if not is_name(experiment):
        raise UserError(f"{experiment!r} is not the name of an experiment; a name is {NAME_RULE}")
    now = utc_text(time.time())
    return RunRecord(
        run_id=run_id,
        experiment_name=experiment,
        status=new.status,
        created_utc=now,
        start_time_utc=now if new.status is RunStatus.RUNNING else None,
        command="",
        target="local",
        distribution="none",
        instance_count=1,
        process_count=1,
        attached=False,
        type=RunType.INTERACTIVE,
        parent_run_id=parent.run_id if parent else None,
        root_run_id=(parent.root_run_id or parent.run_id) if parent else None,
        display_name=new.display_name,
        tags=dict(new.tags),
        properties=dict(new.properties),
        owner=owner,
    )


# --- changing ---------------------------------------------------------------------------------------


def read_run(folder: RunFolder) -> RunRecord:
    """Give a run's record as it is true now."""
    record = read_record(folder.record)
    if record.away is not None:
        from .ssh.bringing import as_brought

        return as_brought(folder, record)
    return as_it_is(record)


def edit_run(folder: RunFolder, edit: Edit) -> RunRecord:
    """Change a run's record, or have its coordinator do so; gives it as it is then. Raises UserError if it may not."""
    ask(folder, edit)
    record = read_run(folder)
    if isinstance(edit, Finish) and record.scheduler is not None:
        from .slurm.commands import leave_queue

        leave_queue(record)
    return record


def ask(folder: RunFolder, request: Request) -> None:
    """Leave a request for whoever may write the run's record, and see that it is granted; raises UserError if not."""
    away = read_record(folder.record).away
    if away is not None and not away.is_brought:
        from .ssh.bringing import ask_there

        ask_there(folder, away, request)
        return
    path = leave(folder.requests, request)
    deadline = time.monotonic() + _PATIENCE
    told = False
    while path.exists():
        lock = try_lock(folder.lock)
        if lock is not None:
            with lock:
                grant_all(folder, lock)
            break
        told = told or poke(folder)
        if time.monotonic() > deadline:
            path.unlink(missing_ok=True)
            raise NodeError(f"the coordinator of run {folder.run_id} does not answer; try again, or cancel it by force")
        time.sleep(_MOMENT)
    reason = refusal(path)
    if reason is not None:
        raise UserError(reason)


def poke(folder: RunFolder) -> bool:
    """Tell a run's coordinator that there is a request; False while it does not listen."""
    connection = connect(read_record(folder.record))
    if connection is None:
        return False
    with connection:
        try:
            connection.sendall(encode(messages.pack(messages.LookAtRequests())))
        except OSError:
            return False  # It has just ended.
    return True


def grant_all(folder: RunFolder, lock: RecordLock) -> None:
    """Take all requests of a run that has no coordinator (any more), whose lock is held."""
    for path, request in pending(folder.requests):
        record = read_run(folder)
        try:
            edit = _edit_of(request, record)
            if edit is not None:
                changed = apply_edit(record, edit, utc_text(time.time()))
                with changing(folder.workspace, [folder.run_id]):
                    write_record(folder.record, changed)
            grant(path)
        except UserError as error:
            refuse(path, str(error))


def _edit_of(request: Request, record: RunRecord) -> Edit | None:
    """Give what a request means for a run without a coordinator; None for nothing at all."""
    match request:
        case Cancel(reason):
            return None if record.status.is_terminal else Finish(RunStatus.CANCELED, reason)
        case Rejoin():
            raise UserError(f"run {record.run_id} has ended: {record.status.value}; 'regiment run' starts a new one")
    return request


# --- experiments ------------------------------------------------------------------------------------


def all_experiments(workspace: Workspace, *, archived: bool | None = False) -> list[str]:
    """Give the names of the experiments that have runs: only archived ones, only others, or (None) both."""
    hidden = archived_experiments(workspace)
    return sorted(name for name in experiment_names(workspace) | hidden if archived in (None, name in hidden))


def archive_experiment(workspace: Workspace, name: str) -> None:
    """Leave an experiment and its runs out of lists; nothing is deleted."""
    _check_experiment(workspace, name)
    (private_folder(workspace.archived_experiments) / name).touch(mode=0o600)


def restore_experiment(workspace: Workspace, name: str) -> None:
    """Show an archived experiment in lists again."""
    _check_experiment(workspace, name)
    (workspace.archived_experiments / name).unlink(missing_ok=True)


def _check_experiment(workspace: Workspace, name: str) -> None:
    if name not in all_experiments(workspace, archived=None):
        raise UserError(f"there is no experiment {name!r} in {workspace.root}; 'regiment experiments list' lists them")
