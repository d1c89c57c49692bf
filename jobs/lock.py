"""Who may write the record of a run: whoever holds the lock on its `record.lock`, for as long as he lives."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from .plain import PlainError, from_plain, to_plain
from .record import Owner


class RecordLock:
    """A lock that the kernel takes back when its holder ends, however that is."""

    def __init__(self, file: int) -> None:
        self._file = file

    def release(self) -> None:
        """Let others write."""
        os.close(self._file)

    def __enter__(self) -> RecordLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def try_lock(path: Path, owner: Owner | None = None) -> RecordLock | None:
    """Take the lock of a run; None where somebody else has it. `owner` is who keeps it for good, for others to read."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except BaseException:
        os.close(file)
        raise
    if owner is not None:
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(to_plain(owner)).encode(), 0)
    return RecordLock(file)


def holder(path: Path) -> Owner | None:
    """Give who said that he keeps the lock; the words of one that is dead may still be there."""
    try:
        return from_plain(Owner, json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, PlainError):
        return None
