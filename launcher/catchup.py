"""Brings the index of a workspace up to date with its run folders, whatever has happened to either.

What changed is read in `changes.log`; of what was begun and not ended, and of runs that are not over, the record is
read each time; folders that somebody put in or took away by hand are seen by the time stamp of the folder above. An
index that is damaged, of another version or of another `changes.log` is made anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from regiment.jobs.changes import identity, read_changes
from regiment.jobs.dataclass import dataclass, field, replace
from regiment.jobs.files import private_folder
from regiment.jobs.index import Index, Row, new_index, open_index
from regiment.jobs.plain import from_plain, to_plain
from regiment.jobs.record import Owner, RunRecord, RunStatus, RunType, migrated, unreadable
from regiment.jobs.workspace import RunFolder, Workspace, is_name

from .indexplace import NoIndex, index_path
from .liveness import as_it_is, is_dead, keeper_of

_PATIENCE = 60.0
"""Seconds to wait for whoever has the index: longer than making one of 100,000 runs takes."""
_MOMENT = 0.005
"""Seconds until the lock is tried again."""
_TOO_YOUNG_NS = 2 * 10**9
"""Age of a time stamp at which nothing can have happened since that it does not show."""


@contextmanager
def index_of(workspace: Workspace, patience: float = _PATIENCE) -> Iterator[Index]:
    """Give the index, up to date; nobody else has it until the block is over. Raises NoIndex.

    `patience` is how many seconds to wait for somebody else who has it.
    """
    path = index_path(workspace)
    with _lock(path, patience):
        try:
            with open_index(path) as index:
                is_usable = index is not None and _catch_up(index, workspace)
        except sqlite3.Error:
            is_usable = False  # It is damaged, or there is none.
        try:
            if not is_usable:
                _make(path, workspace)
            with open_index(path) as index:
                if index is None:
                    raise NoIndex
                yield index
        except (sqlite3.Error, OSError) as error:
            raise NoIndex from error


def reindex(workspace: Workspace) -> int:
    """Make the index anew from the run folders; gives how many runs there are. Raises NoIndex."""
    path = index_path(workspace)
    with _lock(path, _PATIENCE):
        try:
            _make(path, workspace)
            with open_index(path) as index:
                return len(index.run_ids()) if index is not None else 0
        except (sqlite3.Error, OSError) as error:
            raise NoIndex from error


@contextmanager
def _lock(index: Path, patience: float) -> Iterator[None]:
    """Hold the lock that whoever has the index open holds. The kernel takes it back when its holder dies."""
    try:
        private_folder(index.parent)
        path = index.with_name(f"{index.name}.lock")
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise NoIndex from error
    try:
        deadline = time.monotonic() + patience
        while not _try(file):
            if time.monotonic() > deadline:
                raise NoIndex  # Whoever has it is stopped, or very slow: reading all folders is slow and right.
            time.sleep(_MOMENT)
        yield
    finally:
        os.close(file)


def _try(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise NoIndex from error  # A file system that knows no locks.
    return True


# --- making -----------------------------------------------------------------------------------------


def _make(path: Path, workspace: Workspace) -> None:
    """Make the index beside the old one, then put it in its place."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    with new_index(new) as index:
        # What is said or made from here on is found by whoever catches up next.
        known = _where(workspace)
        changes = read_changes(workspace)
        names = _names(workspace)
        index.put(_rows(workspace, names))
        index.count_changes(changes.begun, changes.ended)
        index.set_state({**known, "offset": str(changes.offset)})
    # Nobody has the old one open. Its journal goes after it: whoever finds the one alone has nothing to undo.
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    new.replace(path)


def _where(workspace: Workspace) -> dict[str, str]:
    """Give which workspace it is, and when folders were last put into it or taken away."""
    return {
        "root": str(workspace.root.absolute()),
        "changes": identity(workspace),
        "folders": _time_stamp(workspace),
    }


def _time_stamp(workspace: Workspace) -> str:
    """Give when a folder was last put into the runs or taken away; nothing, which is never the same, if just now.

    Two changes within one tick of the file system's clock have one time stamp.
    """
    changed = workspace.runs.stat().st_mtime_ns
    return "" if time.time_ns() - changed < _TOO_YOUNG_NS else str(changed)


def _names(workspace: Workspace) -> set[str]:
    return {name for name in os.listdir(workspace.runs) if is_name(name)}


# --- catching up ------------------------------------------------------------------------------------


def _catch_up(index: Index, workspace: Workspace) -> bool:
    """Read what has changed; False where it cannot be known what has."""
    state, now = index.state, _where(workspace)
    if any(state.get(key) != now[key] for key in ("root", "changes")):
        return False
    changes = read_changes(workspace, int(state["offset"]))
    now["offset"] = str(changes.offset)
    again = index.to_read_again()
    names = {*again, *changes.begun, *changes.ended}
    gone: set[str] = set()
    if now["folders"] != state["folders"] or not now["folders"]:
        there, known = _names(workspace), index.run_ids()
        names |= there - known
        gone = known - there
    changed = {*changes.begun, *changes.ended}
    is_lost = cache(_is_lost)  # Many runs have one keeper.
    asked = (name for name in names - gone if name in changed or not _is_as_it_was(workspace, again.get(name), is_lost))
    rows = [row for row in _rows(workspace, asked) if not _is_known(row, again.get(row.run_id))]
    if rows or gone or now != state:
        with index.writing():
            index.remove(gone)
            index.put(rows)
            index.count_changes(changes.begun, changes.ended)
            index.set_state(now)
    return True


def _is_as_it_was(workspace: Workspace, known: Row | None, is_lost: Callable[[str], bool]) -> bool:
    """Say whether a run's record is certainly what it was, and whoever keeps the run alive as he was."""
    if known is None or known.stamp is None or known.stamp != _stamp(workspace.run(known.run_id).record):
        return False
    return known.keeper is None or not is_lost(known.keeper)


def _is_lost(keeper: str) -> bool:
    return is_dead(from_plain(Owner, json.loads(keeper)))


def _stamp(path: Path) -> str | None:
    """Give the state of a file that every change of it touches; None where that cannot be told from it."""
    try:
        found = path.stat()
    except OSError:
        return None
    if time.time_ns() - found.st_ctime_ns < _TOO_YOUNG_NS:
        return None
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _is_known(row: Row, known: Row | None) -> bool:
    """Say whether there is nothing new in a row."""
    if known is None:
        return False
    if row.fault is not None and known.record is not None:
        return known.is_open  # What was known of it stays.
    return _news(row) == _news(known)


def _news(row: Row) -> tuple[object, ...]:
    return row.is_open, row.record, row.fault, row.stamp, row.keeper


# --- reading ----------------------------------------------------------------------------------------


def _rows(workspace: Workspace, names: Iterable[str]) -> Iterator[Row]:
    for name in names:
        folder = workspace.run(name) if is_name(name) else None
        row = None if folder is None else _row(folder)
        if row is not None:
            yield row


def _row(folder: RunFolder) -> Row | None:
    """Read a run; None where there is no such folder."""
    stamp = _stamp(folder.record)
    try:
        data = migrated(json.loads(folder.record.read_bytes()))
        head = from_plain(_Head, {key: data[key] for key in _HEAD_KEYS if key in data})
        if head.status.is_terminal:
            return _known_row(folder.run_id, head, data)
        record = from_plain(RunRecord, data)
    except (OSError, ValueError) as error:
        if not _is_missing(folder.record):
            return Row(folder.run_id, fault=unreadable(folder.record, error))
        # It is about to be written, or its folder to be removed.
        return None if _is_missing(folder.root) else Row(folder.run_id)
    true = as_it_is(record)
    keeper = None if true.status.is_terminal else keeper_of(record)
    row = _known_row(folder.run_id, replace(head, status=true.status), to_plain(true))
    return replace(row, is_open=True, stamp=stamp, keeper=None if keeper is None else json.dumps(to_plain(keeper)))


@dataclass(frozen=True)
class _Head:
    """What of a record is in columns of the index: of a run that is over, all that is read before somebody asks."""

    experiment_name: str
    status: RunStatus
    created_utc: str
    type: RunType
    parent_run_id: str | None = None
    archived: bool = False
    tags: Mapping[str, str | None] = field(default_factory=dict)
    properties: Mapping[str, str | None] = field(default_factory=dict)


_HEAD_KEYS = "experimentName status createdUtc type parentRunId archived tags properties".split()


def _known_row(run_id: str, head: _Head, data: dict[str, Any]) -> Row:
    return Row(
        run_id=run_id,
        created=head.created_utc,
        experiment=head.experiment_name,
        status=head.status.value,
        type=head.type.value,
        parent=head.parent_run_id,
        archived=head.archived,
        is_open=False,
        record=json.dumps(data, separators=(",", ":")),
        tags=head.tags,
        properties=head.properties,
    )


def _is_missing(path: Path) -> bool:
    """Say whether there is certainly no such file; one that cannot be seen may be there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
