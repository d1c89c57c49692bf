"""Finds runs and experiments of a workspace: through its index or, where there can be none, by reading every folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from regiment.jobs.errors import UserError
from regiment.jobs.plain import PlainError
from regiment.jobs.record import RunRecord, read_record, record_from, unreadable
from regiment.jobs.runfilter import RunFilter
from regiment.jobs.workspace import Workspace

from .liveness import as_it_is

Complain = Callable[[str], None]


def find_runs(
    workspace: Workspace, wanted: RunFilter, limit: int | None = None, complain: Complain = lambda text: None
) -> list[RunRecord]:
    """Give the runs that are looked for, newest first; of a damaged record `complain` is told."""
    if not workspace.runs.is_dir():
        return []
    try:
        from .catchup import NoIndex, index_of
    except ImportError:  # A Python that was built without SQLite.
        return _search(workspace, wanted, limit, complain)
    try:
        with index_of(workspace) as index:
            found, faults = index.find(wanted, limit), index.faults()
    except NoIndex:
        return _search(workspace, wanted, limit, complain)
    for fault in faults:
        complain(fault)
    records = []
    for run_id, text in found:
        try:
            records.append(record_from(json.loads(text)))
        except PlainError as error:
            complain(unreadable(workspace.run(run_id).record, error))
    return records


def experiment_names(workspace: Workspace) -> set[str]:
    """Give the names of all experiments that have runs."""
    if not workspace.runs.is_dir():
        return set()
    try:
        from .catchup import NoIndex, index_of
    except ImportError:
        return {record.experiment_name for record in _records(workspace, lambda text: None)}
    try:
        with index_of(workspace) as index:
            return index.experiments()
    except NoIndex:
        return {record.experiment_name for record in _records(workspace, lambda text: None)}


# --- without an index -------------------------------------------------------------------------------


def _search(workspace: Workspace, wanted: RunFilter, limit: int | None, complain: Complain) -> list[RunRecord]:
    records = _records(workspace, complain)
    below = None if wanted.ancestor is None else _descendants(records, wanted.ancestor)
    found = [record for record in records if (below is None or record.run_id in below) and wanted.admits(record)]
    found.sort(key=lambda record: (record.created_utc, record.run_id), reverse=True)
    return found[:limit]


def _descendants(records: Iterable[RunRecord], ancestor: str) -> set[str]:
    children: dict[str | None, list[str]] = {}
    for record in records:
        children.setdefault(record.parent_run_id, []).append(record.run_id)
    found: set[str] = set()
    waiting = [ancestor]
    while waiting:
        more = [run_id for run_id in children.get(waiting.pop(), []) if run_id not in found]
        found.update(more)
        waiting += more
    return found


def _records(workspace: Workspace, complain: Complain) -> list[RunRecord]:
    records = []
    for folder in workspace.all_runs():
        try:
            records.append(as_it_is(read_record(folder.record)))
        except UserError as error:
            if folder.record.exists():  # Else it was removed a moment ago.
                complain(str(error))
    return records
