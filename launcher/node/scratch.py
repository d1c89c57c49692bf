"""Taking away what a run needed only while it ran."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable


def socket_folder() -> str:
    """Make a fresh private folder for the run's sockets; never in the run folder, for such paths hold 108 bytes."""
    for base in (os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp"):
        path = f"{base}/regiment-{os.urandom(6).hex()}"
        if base and len(path) < 80:
            try:
                os.mkdir(path, 0o700)
                return path
            except OSError:
                continue
    raise OSError("no folder for sockets: neither XDG_RUNTIME_DIR, TMPDIR nor /tmp can be written")


def shared_memory(socket: str) -> str:
    """Give the folder in shared memory that a node's launchers have beside its socket, or one on disk."""
    folder, name = os.path.split(socket)
    return f"/dev/shm/{os.path.basename(folder)}-{name}" if os.access("/dev/shm", os.W_OK) else f"{socket}.tmp"


def remove_shared_memory(sockets: str) -> None:
    """Remove what the launchers of all nodes have there whose sockets are in that folder."""
    beginning = f"{os.path.basename(sockets)}-"
    for name in os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else ():
        if name.startswith(beginning):
            remove(f"/dev/shm/{name}")


def remove_sockets(folder: str) -> None:
    """Remove the folder of a run's sockets, with what the launchers of lost nodes have left in it."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            remove(entry.path)
        else:
            _try(os.unlink, entry.path)
    _try(os.rmdir, folder)


def remove_socket_if_dead(path: str) -> None:
    """Remove the socket of a coordinator that nobody answers for any more, and its folder if it was the last there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            _try(os.unlink, path)
        except OSError:
            pass  # It is gone, or its queue is full: then somebody listens.
    _try(os.rmdir, os.path.dirname(path))


def remove_socket_of_dead(path: str) -> None:
    """Remove the socket of a coordinator that is certainly dead, and its folder if it was the last there.

    To connect would prove nothing: a keeper that it was just starting has its open files for a moment longer.
    """
    _try(os.unlink, path)
    _try(os.rmdir, os.path.dirname(path))


def remove(folder: str) -> None:
    """Remove a folder with all that is in it, folders without write permission too; links are not followed."""
    if not os.path.isdir(folder):
        return
    import shutil  # The coordinator seldom needs it, and it takes longer to import than most of what it does.

    try:
        for inner, _, _ in os.walk(folder):
            try:
                os.chmod(inner, 0o700)
            except OSError:
                pass  # Not ours; whether it can be removed the next line finds out.
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:
        import subprocess  # Python's own ways call themselves for each level; a job may have made a thousand.

        subprocess.run(["rm", "-rf", "--", folder], stderr=subprocess.DEVNULL, check=False)


def remove_if_empty(folder: str) -> None:
    """Remove a run's scratch folder, and the one it is in, unless others still use them."""
    try:
        os.rmdir(folder)
        os.rmdir(os.path.dirname(folder))
    except OSError:
        pass  # Another run or node has something in it, or was faster.


def _try(remove_one: Callable[[str], None], path: str) -> None:
    try:
        remove_one(path)
    except OSError:
        pass  # Others were faster, or still use it; no verdict hangs on this.
