"""`changes.log`: which runs of a workspace have a changed record, so that an index need not look at all of them.

Who changes a record says so before and after, a line each. Who died in between has said only that he began: that
record is read again each time. Lines are added in one write each, which Linux never mixes up on a local file system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .workspace import Workspace


@contextmanager
def changing(workspace: Workspace, run_ids: Sequence[str]) -> Iterator[None]:
    """Say that these runs' records are being changed, and afterwards that they have been."""
    _append(workspace, "begin", run_ids)
    try:
        yield
    finally:
        _append(workspace, "end", run_ids)


def _append(workspace: Workspace, word: str, run_ids: Sequence[str]) -> None:
    data = "".join(f"{word} {run_id}\n" for run_id in run_ids).encode()
    file = os.open(workspace.changes, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(file, data)
    finally:
        os.close(file)
