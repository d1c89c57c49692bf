"""The run's key: 32 bytes that every node has, in a file that nobody else may read; never on a command line."""

from __future__ import annotations

import os
import re
import secrets
import stat

from regiment.jobs.errors import UserError

KEY_BYTES = 32
_TEXT = re.compile(rb"\s*([0-9a-fA-F]{64})\s*")
_MAX_FILE = 1024


def make_key(path: str) -> bytes:
    """Make a new key and its file, which must not exist yet."""
    key = secrets.token_bytes(KEY_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(key.hex().encode() + b"\n")
    return key


def read_key(path: str) -> bytes:
    """Read a key's file.

    Raises:
        UserError: there is no key in it, or somebody else could read or change it.
    """
    try:
        # Links are followed, as a mounted Secret is one; without waiting, as a named pipe would make us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(f"the run's key cannot be read from {path}: {error.strerror}; see REGIMENT_KEY_FILE") from None
    try:
        _check_is_secret(path, os.fstat(descriptor))
        found = _TEXT.fullmatch(os.read(descriptor, _MAX_FILE))
    finally:
        os.close(descriptor)
    if not found:
        # What it holds instead may be a secret too, so it isn't shown.
        raise UserError(f"{path} holds no key; it must be 64 hexadecimal digits, as 'openssl rand -hex 32' makes them")
    return bytes.fromhex(found[1].decode())


def _check_is_secret(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path} is no file; name the file with the run's key in REGIMENT_KEY_FILE")
    if found.st_uid not in (os.getuid(), 0):
        raise UserError(
            f"{path} belongs to user {found.st_uid}, who could change the run's key; use a file of your own"
        )
    # Kubernetes gives a Secret to users other than root through the group of a file of root's.
    others = stat.S_IRWXO | stat.S_IWGRP | (0 if found.st_uid == 0 else stat.S_IRGRP)
    if found.st_mode & others:
        raise UserError(
            f"others may read or change the run's key in {path}; 'chmod 600 {path}', "
            "or 'defaultMode: 0400' where a Secret is mounted"
        )
