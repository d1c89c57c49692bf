"""Who may write the record of a run: whoever holds the lock on its `record.lock`, for as long as he lives."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from .errors import UserError
from .plain import PlainError, from_plain, to_plain
from .record import Owner


class RecordLock:
    """A lock that the kernel takes back when its holder ends, however that is."""

    def __init__(self, file: int) -> None:
        self.file = file
        """The open file that holds it; a process that inherits it holds the lock too."""

    def name_owner(self, owner: Owner) -> None:
        """Write down, for others to read, who keeps the lock for as long as he lives."""
        os.ftruncate(self.file, 0)
        os.pwrite(self.file, json.dumps(to_plain(owner)).encode(), 0)

    def release(self) -> None:
        """Let others write, unless somebody inherited the lock."""
        os.close(self.file)

    def __enter__(self) -> RecordLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def try_lock(path: Path) -> RecordLock | None:
    """Take the lock of a run; None where somebody else has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except BaseException:
        os.close(file)
        raise
    return RecordLock(file)


def holder(path: Path) -> Owner | None:
    """Give who said that he keeps the lock; the words of one that is dead may still be there."""
    try:
        return from_plain(Owner, json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, PlainError):
        return None


def lock_new(path: Path) -> RecordLock:
    """Take the lock of a run that was made a moment ago; raises UserError where somebody was faster."""
    lock = try_lock(path)
    if lock is None:
        raise UserError(f"the run in {path.parent} has been taken up by somebody else already; submit it again")
    return lock
