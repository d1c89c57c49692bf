"""Whether a folder is ours: code that runs as us is kept in it."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from regiment.jobs.errors import UserError


def check_is_ours(folder: Path) -> None:
    """Refuse a folder in which another user could change what is about to be run."""
    found = folder.stat()
    if found.st_uid not in (os.getuid(), 0):
        raise UserError(
            f"{folder} belongs to {_name(found.st_uid)}, who could change what would run as you; "
            "name another workspace with --workspace"
        )
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise UserError(
            f"everybody may write in {folder}, and so change what would run as you; "
            f"'chmod o-w {folder}', or name another workspace with --workspace"
        )


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
