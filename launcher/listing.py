"""Finds runs and experiments of a workspace: through its index or, where there can be none, by reading every folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from regiment.jobs.errors import UserError
from regiment.jobs.plain import PlainError
from regiment.jobs.record import RunRecord, read_record, record_from, unreadable
from regiment.jobs.runfilter import RunFilter
from regiment.jobs.workspace import Workspace, is_name

from .indexplace import NoIndex
from .liveness import as_it_is

if TYPE_CHECKING:
    from regiment.jobs.index import Index

Complain = Callable[[str], None]


def find_runs(
    workspace: Workspace, wanted: RunFilter, limit: int | None = None, complain: Complain = lambda text: None
) -> list[RunRecord]:
    """Give the runs that are looked for, newest first; of a damaged record `complain` is told."""
    return _find(workspace, [wanted], limit, complain)


def find_descendants(workspace: Workspace, run_ids: Iterable[str]) -> list[RunRecord]:
    """Give all runs below these, archived ones too, in no particular order."""
    return _find(workspace, [RunFilter(ancestor=run_id, archived=None) for run_id in run_ids], None, lambda text: None)


def _find(workspace: Workspace, asked: list[RunFilter], limit: int | None, complain: Complain) -> list[RunRecord]:
    if not workspace.runs.is_dir():
        return []
    try:
        with _index(workspace) as index:
            found = [row for wanted in asked for row in index.find(wanted, limit)]
            faults = index.faults()
    except _NO_INDEX:
        everything = _records(workspace, complain)
        return [record for wanted in asked for record in _search(everything, wanted, limit)]
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
        with _index(workspace) as index:
            return index.experiments()
    except _NO_INDEX:
        return {record.experiment_name for record in _records(workspace, lambda text: None)}


_NO_INDEX = (NoIndex, ImportError)
"""There can be none here, or this Python was built without SQLite."""


def _index(workspace: Workspace) -> AbstractContextManager[Index]:
    from .catchup import index_of  # SQLite is loaded by who looks for runs, and nobody else.

    return index_of(workspace)


def archived_experiments(workspace: Workspace) -> set[str]:
    """Give the names of the experiments that lists leave out."""
    try:
        return {name for name in os.listdir(workspace.archived_experiments) if is_name(name)}
    except FileNotFoundError:
        return set()


# --- without an index -------------------------------------------------------------------------------


def _search(records: list[RunRecord], wanted: RunFilter, limit: int | None) -> list[RunRecord]:
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
