"""What a host's Python runs first: it puts the packed agent into the cache, if it isn't there, and starts it.

This file travels as its source and is run alone, before anything else of ours is there. What it imports is paid for on
every host at every start: json and hashlib, which loads OpenSSL, would take longer than the rest of it.
"""

from __future__ import annotations

import os
import stat
import sys

MARK = b"REGIMENT-HOST "
"""What our own lines begin with: a host's shell may print whatever it likes before."""


def main(name: str, digest: str, role: str) -> None:
    """Become the host's part of Regiment, from the packed agent of that name.

    The name is that of its sources. What comes is compressed, after eight bytes that say how long it is, and has
    unpacked the SHA-256 `digest`, which compiled code never has twice.
    """
    try:
        folder = _cache()
        path = f"{folder}/{name}"
        is_there = _is_ours(path)
        os.write(1, b'\n%s{"has": %s}\n' % (MARK, b"true" if is_there else b"false"))
        if is_there:
            os.utime(path)  # What nobody starts for long is removed (`agents.py`).
        else:
            _write(path, _read(int.from_bytes(_read(8), "big")), digest)
    except OSError as error:
        sys.exit(f"regiment: cannot keep its agent in {error.filename or 'the cache'}: {error.strerror}")
    os.execv(sys.executable, [sys.executable, "-I", "-S", path, role])


def _cache() -> str:
    """Give this user's folder for what is kept from run to run."""
    home = os.path.expanduser("~")
    base = os.environ.get("XDG_CACHE_HOME") or f"{home}/.cache"
    for folder in (f"{base}/regiment", f"/tmp/regiment-{os.getuid()}/agents"):
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and _is_ours(folder):
            return folder
    raise OSError(13, "no folder that is this user's alone can be written", f"{base}/regiment")


def _is_ours(path: str) -> bool:
    """Say whether it is there and nobody else can have put it there or changed it: it is about to be run."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return found.st_uid == os.getuid() and not found.st_mode & 0o022 and not stat.S_ISLNK(found.st_mode)


def _read(size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = os.read(0, min(size - len(data), 1 << 20))
        if not part:
            sys.exit("regiment: whoever called has hung up")
        data += part
    return bytes(data)


def _write(path: str, packed: bytes, digest: str) -> None:
    import hashlib
    import zlib

    try:
        data = zlib.decompress(packed)
    except zlib.error:
        data = b""
    if hashlib.sha256(data).hexdigest() != digest:
        sys.exit("regiment: its agent has not come as it was sent; something prints into the connection")
    unfinished = f"{path}.{os.getpid()}"
    file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(file, "wb") as out:
            out.write(data)
        os.replace(unfinished, path)
    except OSError as error:
        os.unlink(unfinished)
        raise OSError(error.errno, error.strerror, path) from None
