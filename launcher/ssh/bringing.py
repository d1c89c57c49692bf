"""A run that goes on on hosts, from the machine that left it to them: what is new comes from its node 0.

The run's folder here becomes what it is there, so that whatever reads runs reads this one too. A host that cannot be
reached makes it Unknown; what was last heard of it stays in the folder.
"""

from __future__ import annotations

import os
import time
from binascii import a2b_base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regiment.jobs.changes import changing
from regiment.jobs.dataclass import replace
from regiment.jobs.errors import NodeError, UserError
from regiment.jobs.files import private_folder, replace_bytes
from regiment.jobs.lock import RecordLock, try_lock
from regiment.jobs.plain import PlainError, from_plain, to_plain
from regiment.jobs.record import AwayRecord, RunError, RunRecord, RunStatus, read_record, record_from, write_record
from regiment.jobs.requests import Request
from regiment.jobs.workspace import RunFolder, Workspace, is_name

from ..node.parts import Form, Part
from ..node.receiving import Receiver
from .sorts import RESULTS, REWRITTEN, all_files, own_files, state_of
from .visits import Broken, Visit, visit_all

_FRESH = 1.0
"""Seconds for which what was heard is as good as new."""
_CALL_LIMIT = 10.0
"""Seconds that node 0 has to answer a call."""
_LONGEST_PAUSE = 15.0
"""Seconds between two calls of a host that cannot be reached; each pause is longer than the one before."""
_LOCK_LIMIT, _LOOK = 60.0, 0.05
"""Seconds that another process may take to bring the same run, and between two looks whether it has."""


class Unreachable(NodeError):
    """The host that has the run does not answer."""


class _Heard:
    """When a run was heard of last, and when it may be asked about again."""

    def __init__(self) -> None:
        self.again_at = 0.0
        self.pause = _FRESH


_visits: dict[tuple[str, str], Visit] = {}
"""Connections that are kept for the next question, by host and Python."""
_heard: dict[Path, _Heard] = {}


def as_brought(folder: RunFolder, record: RunRecord) -> RunRecord:
    """Give a run's record as it is true now, and bring what is new of its logs."""
    if record.away is None or record.status.is_terminal:
        return record
    heard = _heard.setdefault(folder.root, _Heard())
    if time.monotonic() < heard.again_at:
        return record
    lock = _locked(folder)
    if lock is None:
        return read_record(folder.record)
    with lock:
        record = read_record(folder.record)
        try:
            found = _bring(folder, record, whole=False)
            heard.pause = _FRESH
        except NodeError as error:
            found = _unknown(record, error)
            heard.pause = min(heard.pause * 1.5, _LONGEST_PAUSE)
        heard.again_at = time.monotonic() + heard.pause
        _write(folder, record, found)
    return found


def bring_all(workspace: Workspace) -> None:
    """Bring what is new of all runs that go on on hosts, which are called at once."""
    records = []
    for name in filter(is_name, os.listdir(workspace.away)):
        folder = workspace.run(name)
        try:
            records.append((folder, read_record(folder.record)))
        except UserError:
            continue  # It is damaged, which the list says, or was removed.
    zips: dict[tuple[str, str], set[str]] = {}
    for _, record in records:
        if record.away is not None and (record.away.host, record.away.python) not in _visits:
            zips.setdefault((record.away.agent, record.away.python), set()).add(record.away.host)
    for (agent, python), hosts in zips.items():
        _visit(workspace, sorted(hosts), python, agent)
    for folder, record in records:
        as_brought(folder, record)


def bring_results(folder: RunFolder) -> RunRecord:
    """Bring what is new of a run and, where it has ended, all of it, so that nothing is left of it where it was.

    Raises:
        NodeError: It cannot be brought.
    """
    record = read_record(folder.record)
    if record.away is None or record.away.is_brought:
        return record
    lock = _locked(folder)
    if lock is None:
        raise NodeError(f"another process brings run {folder.run_id} and does not come to an end; see that it does")
    with lock:
        record = read_record(folder.record)
        found = _bring(folder, record, whole=True)
        _write(folder, record, found)
    return found


def _locked(folder: RunFolder) -> RecordLock | None:
    """Take the lock on the record, which another process has that is just bringing the run; None if it never ends."""
    deadline = time.monotonic() + _LOCK_LIMIT
    while (lock := try_lock(folder.lock)) is None and time.monotonic() < deadline:
        time.sleep(_LOOK)
    return lock


def _write(folder: RunFolder, record: RunRecord, found: RunRecord) -> None:
    if found != record:
        with changing(folder.workspace, [folder.run_id]):
            write_record(folder.record, found)
    if found.status.is_terminal:
        (folder.workspace.away / folder.run_id).unlink(missing_ok=True)


def ask_there(folder: RunFolder, away: AwayRecord, request: Request) -> None:
    """Have a run's coordinator do what somebody asks of it.

    Raises:
        UserError: It may not be.
        Unreachable: It cannot be asked.
    """
    words = {"errand": "ask", **_which(folder, away), "request": to_plain(request)}
    _ask(folder, away, words)
    _heard.pop(folder.root, None)  # What comes of it is to be seen at once.


def _which(folder: RunFolder, away: AwayRecord) -> dict[str, Any]:
    return {"token": away.token, "runId": folder.run_id}


def _ask(folder: RunFolder, away: AwayRecord, words: dict[str, Any]) -> dict[str, Any]:
    """Ask node 0, once more over a new connection where the last one is dead."""
    key = (away.host, away.python)
    if key in _visits:
        try:
            return _visits[key].ask(words)
        except Broken:
            del _visits[key]
    for reason in _visit(folder.workspace, (away.host,), away.python, away.agent):
        raise Unreachable(_cannot_be_reached(away, reason))
    try:
        return _visits[key].ask(words)
    except Broken as error:
        del _visits[key]
        raise Unreachable(_cannot_be_reached(away, str(error))) from None


def _visit(workspace: Workspace, hosts: Sequence[str], python: str, agent: str) -> tuple[str, ...]:
    """Call hosts and keep the connections; gives why some have none."""
    try:
        found = visit_all(hosts, python, str(workspace.cache / agent), _CALL_LIMIT)
    except FileNotFoundError:
        return tuple(f"{workspace.cache / agent} is gone, which its run was started with" for _ in hosts)
    for host, visit in zip(hosts, found, strict=True):
        if isinstance(visit, Visit):
            _visits[host, python] = visit
    return tuple(reason for reason in found if isinstance(reason, str))


def _cannot_be_reached(away: AwayRecord, why: str) -> str:
    return f"node 0 of the run, {away.host}, cannot be reached: {why}"


def _unknown(record: RunRecord, error: NodeError) -> RunRecord:
    """Give the record of a run that nothing can be heard of."""
    if record.status is RunStatus.UNKNOWN:
        return record
    text = f"{error}; the run was {record.status.value} when it was last heard of"
    return replace(record, status=RunStatus.UNKNOWN, error=RunError(text))


# --- what is new ------------------------------------------------------------------------------------


def _bring(folder: RunFolder, record: RunRecord, whole: bool) -> RunRecord:
    """Bring what is new; gives the record, as it is there but for where it is."""
    away = record.away
    assert away is not None
    if away.is_brought:
        return record  # By another process, meanwhile.
    have = {path: state_of(found) for path, found in (all_files if whole else own_files)(folder.root)}
    try:
        words = _ask(folder, away, {"errand": "bring", **_which(folder, away), "have": have, "all": whole})
        last, problems = _take(folder, _visits[away.host, away.python], words)
        found = record_from(last["record"])
    except UserError as error:
        raise Unreachable(f"nothing of the run is left on {away.host}, its node 0: {error}") from None
    except (PlainError, KeyError, ValueError) as error:
        raise Unreachable(_cannot_be_reached(away, f"its answer cannot be understood: {error}")) from None
    _link_newest_logs(folder, found.attempt)
    if last["isAll"] and not problems:
        _ask(folder, away, {"errand": "forget", **_which(folder, away)})
        away = replace(away, is_brought=True)
    warnings = tuple(f"not all that the run wrote could be brought: {text}" for text in problems[:1])
    return replace(found, away=away, warnings=(*found.warnings, *warnings))


def _take(folder: RunFolder, visit: Visit, words: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Write down what is told, up to its last words; gives those, and what could not be told or written."""
    receiver = Receiver(folder.root, _base_of, keeps="")
    while "record" not in words:
        if "part" in words:
            receiver.take(from_plain(Part, words["part"]))
        else:
            _rewrite(folder.root, str(words["file"]), a2b_base64(words["data"]), int(words["modified"]))
        words = visit.hear()
    return words, [*words["problems"], *receiver.problems()]


def _base_of(form: Form, names: tuple[str, ...]) -> int | None:
    if names == ("events.jsonl",):
        return 0
    return 1 if names[0] in RESULTS else None


def _rewrite(root: Path, path: str, data: bytes, modified: int) -> None:
    if REWRITTEN.fullmatch(path) is None:
        raise ValueError(f"{path!r} is none of a run's files")
    private_folder((root / path).parent)
    replace_bytes(root / path, data)
    os.utime(root / path, ns=(modified, modified))


def _link_newest_logs(folder: RunFolder, attempt: int) -> None:
    target = folder.attempt_logs(attempt)
    link = folder.attempt_logs_link
    wanted = str(target.relative_to(folder.root))
    if target.is_dir() and not (link.is_symlink() and str(link.readlink()) == wanted):
        link.unlink(missing_ok=True)
        link.symlink_to(wanted)
