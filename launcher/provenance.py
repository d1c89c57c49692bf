"""Where a run comes from, beside its code: the state of its repository, and what its Python had installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from regiment.distribution.environment import masked
from regiment.jobs.current_form import current_form
from regiment.jobs.dataclass import replace
from regiment.jobs.files import replace_json
from regiment.jobs.spec import JobSpec
from regiment.jobs.workspace import RunFolder

from .packages import this_python

if TYPE_CHECKING:
    from regiment.jobs.snapshot import Snapshot

_MANY_BYTES = 300 * 1000 * 1000
_MANY_FILES = 2000
"""Azure ML takes no more than this; here it is only likely that something is in there that nobody wants."""


def record_provenance(
    spec: JobSpec, source: Path, workspace: Path, folder: RunFolder
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Write what belongs into the run folder; gives properties for the record, and notes for the person."""
    shown = replace(spec, environment_variables=masked(spec.environment_variables))
    replace_json(folder.spec, current_form(shown))
    replace_json(folder.packages, this_python())
    if not _is_in_repository(source):
        return {}, ()
    from .gitstate import git_state  # What it needs takes longer to import than everything else here.

    state = git_state(source, workspace)
    if state.diff is not None:
        fd = os.open(folder.git_diff, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(state.diff)
    return dict(state.properties), state.notes


def _is_in_repository(source: Path) -> bool:
    return any((folder / ".git").exists() for folder in (source.resolve(), *source.resolve().parents))


def snapshot_properties(snapshot: Snapshot) -> dict[str, str]:
    """Give the snapshot's id, by Azure ML's name, and its size."""
    return {
        "ContentSnapshotId": snapshot.snapshot_id,
        "regiment.snapshot.files": str(snapshot.file_count),
        "regiment.snapshot.bytes": str(snapshot.byte_count),
    }


def snapshot_notes(snapshot: Snapshot) -> tuple[str, ...]:
    """Say what was left out, and that the snapshot is big where it is."""
    if snapshot.byte_count <= _MANY_BYTES and snapshot.file_count <= _MANY_FILES:
        return snapshot.notes
    size = f"{snapshot.file_count} files, {snapshot.byte_count / 1e6:.0f} MB"
    return (
        *snapshot.notes,
        f"the snapshot of the code is big: {size}; list in .amlignore what the job does not need",
    )
