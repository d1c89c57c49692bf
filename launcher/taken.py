"""What is said of a run's name that is taken."""

from __future__ import annotations

from regiment.jobs.errors import UserError
from regiment.jobs.record import read_record
from regiment.jobs.workspace import RunFolder

from .liveness import is_dead


def name_taken(folder: RunFolder) -> UserError:
    """Give the error for a name that a run has already, with the run's owner where that lives."""
    name, workspace = folder.run_id, folder.root.parents[1]
    try:
        record = read_record(folder.record)
    except UserError:
        record = None  # Its own submitter is only making it, or it is damaged; its name is taken all the same.
    owner = record.coordinator if record and not record.status.is_terminal else None
    if owner is None or is_dead(owner.owner):
        return UserError(f"there is a run {name!r} in {workspace} already; choose another with --name")
    return UserError(
        f"run {name!r} in {workspace} is owned by process {owner.pid} on {owner.host}; "
        f"choose another name with --name, or end it with 'regiment cancel {name}'"
    )
