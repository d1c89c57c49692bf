"""`changes.log`: which runs of a workspace have a changed record, so that an index need not look at all of them.

Who changes a record says so before and after, a line each. Who died in between has said only that he began: that
record is read again each time. Lines are added in one write each, which Linux never mixes up on a local file system,
and begin with an empty one: what a full disk or a crash cut short never spoils the next. Nothing is ever taken away.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .dataclass import dataclass
from .workspace import Workspace

_BEGIN, _END, _FIRST = "begin", "end", "since"
_HEAD = 512
"""Bytes that the first line never exceeds."""


@contextmanager
def changing(workspace: Workspace, run_ids: Sequence[str]) -> Iterator[None]:
    """Say that these runs' records are being changed, and afterwards that they have been; raises OSError before."""
    _append(workspace.changes, "".join(f"{_BEGIN} {run_id}\n" for run_id in run_ids))
    try:
        yield
    finally:
        try:
            _append(workspace.changes, "".join(f"{_END} {run_id}\n" for run_id in run_ids))
        except OSError:
            pass  # The change has been made all the same; what has not ended is read again each time.


def _append(path: Path, lines: str) -> None:
    data = f"\n{lines}".encode()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        written = os.write(file, data)
    finally:
        os.close(file)
    if written != len(data):
        raise OSError(f"only {written} of {len(data)} bytes could be written to {path}")


@dataclass(frozen=True)
class Changes:
    """What was said since somebody looked last."""

    begun: tuple[str, ...]
    """Runs whose change began, as often as it did."""
    ended: tuple[str, ...]
    """Runs whose change ended, as often as it did."""
    offset: int
    """Where to go on from."""


def read_changes(workspace: Workspace, offset: int = 0) -> Changes:
    """Give what was said from an offset on; a line that is not whole yet is left for the next time."""
    try:
        with workspace.changes.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        data = b""
    data = data[: data.rfind(b"\n") + 1]
    said: dict[str, list[str]] = {_BEGIN: [], _END: []}
    for line in data.decode("utf-8", "replace").splitlines():
        word, _, run_id = line.partition(" ")
        said.get(word, []).append(run_id)
    return Changes(tuple(said[_BEGIN]), tuple(said[_END]), offset + len(data))


def identity(workspace: Workspace) -> str:
    """Give the first line, which is made where there is none: by it a file that somebody replaced is known."""
    first = _first_line(workspace.changes)
    if not first:
        _append(workspace.changes, f"{_FIRST} {os.urandom(8).hex()}\n")
        first = _first_line(workspace.changes)
    return first


def _first_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            lines = file.read(_HEAD).split(b"\n")
    except FileNotFoundError:
        return ""
    return next((line.decode("utf-8", "replace") for line in lines[:-1] if line), "")
