"""The warm pool as those see it who want something of it: `regiment warm`, and a run that can use what it has imported.

A pool is a process (`warmpool.py`) for one user, Python and list of modules, behind a socket in that user's folder.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import zlib
from collections.abc import Iterator
from typing import Any

from regiment.jobs.dataclass import replace

from ..node.channel import encode
from ..node.config import NodeConfig
from .keepers import Keeper
from .surroundings import surroundings

_CALL_LIMIT = 1.0
"""Seconds that a run waits for an answer: a pool that takes longer saves it nothing."""
_MAX_ANSWER = 1 << 20
SOCKET = "pool.sock"
"""What it is called in a pool's folder."""


class NoPool(Exception):
    """There is no such pool, or it does not answer."""


def folder() -> str:
    """Give the folder with the sockets of this user's pools, which need not exist."""
    base = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"
    return f"{base}/regiment-warm-{os.getuid()}"


def is_ours(path: str) -> bool:
    """Say whether a folder is this user's alone; in /tmp anybody may have made one of that name."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def beginning(python: str, modules: tuple[str, ...]) -> str:
    """Give how the names of the folders begin that pools for a Python and a list of modules have."""
    here = os.path.realpath(os.path.dirname(python)), os.path.realpath(python)
    return f"{zlib.crc32(json.dumps([here, modules]).encode()):08x}-"


def pools(prefix: str = "") -> Iterator[str]:
    """Give the sockets of this user's pools, or of those whose folders' names begin so."""
    if is_ours(folder()):
        for name in sorted(os.listdir(folder())):
            path = f"{folder()}/{name}/{SOCKET}"
            if name.startswith(prefix) and os.path.exists(path):
                yield path


def ask(path: str, question: dict[str, Any], limit: float | None = _CALL_LIMIT) -> tuple[dict[str, Any], list[int]]:
    """Ask a pool; gives its answer, and the open files that came with it.

    Raises:
        NoPool: nobody answers there in so many seconds.
    """
    if not is_ours(os.path.dirname(path)):
        raise NoPool
    data, files = b"", []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(limit)
        try:
            connection.connect(path)
            connection.sendall(encode(question))
            while not data.endswith(b"\n") and len(data) < _MAX_ANSWER:
                part, new, _, _ = socket.recv_fds(connection, 1 << 16, 2)
                if not part:
                    break
                data += part
                files += new
        except OSError:
            pass
    try:
        answer = json.loads(data)
    except ValueError:
        for file in files:
            os.close(file)
        raise NoPool from None
    return answer, files


class TakenKeeper(Keeper):
    """One of the pool's, which a run has taken."""

    def keep(self, config: NodeConfig) -> None:
        """Tell it what node it keeps, and what the job's processes inherit: it was started from another shell."""
        super().keep(replace(config, environ=dict(os.environ)))


def take(python: str, modules: tuple[str, ...], zip_path: str) -> tuple[TakenKeeper, str]:
    """Take a keeper and agent that have imported modules in a Python; gives it, and the token of its processes.

    Raises:
        NoPool: there is none to be had; the message says why, as the end of a sentence, where there is a pool.
    """
    reason = ""
    for path in pools(beginning(python, modules)):
        answer, files = ask(path, {"type": "take", "surroundings": surroundings(zip_path)})
        match answer, files:
            case {"type": "given", "pid": int(pid), "token": str(token)}, [giver, output]:
                return TakenKeeper(pid, socket.socket(fileno=giver), output), token
        reason = reason or str(answer.get("reason") or "it has none ready")
    raise NoPool(reason)
