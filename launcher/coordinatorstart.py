"""Starts a coordinator's process: as early as can be, for its Python takes as long to start as a job to be read."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

from regiment.jobs.errors import NodeError
from regiment.jobs.files import private_folder
from regiment.jobs.workspace import RunFolder, Workspace

TYPE_CHECKING = False  # As typing's, which takes a while to import.
if TYPE_CHECKING:
    from regiment.jobs.lock import RecordLock

    from .coordinator.order import Order

_ACCEPT_LIMIT = 20.0
"""Seconds a coordinator may take to take up its run."""


class CoordinatorProcess:
    """A coordinator that waits for its order; where none comes, it ends when this process does."""

    def __init__(self, zip_path: Path) -> None:
        """Start it from the packed agent, in a session of its own."""
        self.zip = zip_path
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        argv = [sys.executable, "-I", "-S", str(zip_path), "coordinator"]
        # What it might have to say before it has its log is for the person.
        actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)]
        self._pid = os.posix_spawn(
            argv[0], argv, os.environ, file_actions=actions, setsid=True, setsigdef=[signal.SIGINT, signal.SIGPIPE]
        )
        theirs.close()

    def take_up(
        self, order: Order, folder: RunFolder, lock: RecordLock, listener: socket.socket | None = None
    ) -> socket.socket:
        """Hand it the order; gives the connection to it once it has taken up the run.

        Secrets go through the socket only. It gets the lock on the record too, which is not free for a moment from
        the making of the run to its end, and the socket that nodes connect to.
        """
        from regiment.jobs.plain import to_plain

        private_folder(folder.own_logs)
        log = os.open(folder.own_logs / "coordinator.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        connection = self._connection
        connection.settimeout(_ACCEPT_LIMIT)
        data = json.dumps(to_plain(order)).encode() + b"\n"
        try:
            files = [lock.file, log] if listener is None else [lock.file, log, listener.fileno()]
            sent = socket.send_fds(connection, [data], files)
            connection.sendall(data[sent:])
            accepted = _read_line(connection)
        except OSError:
            accepted = b""
        finally:
            os.close(log)
        if b"accepted" not in accepted:
            os.kill(self._pid, signal.SIGKILL)
            raise NodeError(f"the coordinator did not take up the run; {folder.own_logs / 'coordinator.log'} says why")
        return connection

    def dismiss(self) -> None:
        """Let it end: nobody has an order for it after all."""
        self._connection.close()


def start_early(workspace: Workspace) -> CoordinatorProcess | None:
    """Start one before anybody has looked at the job, where an earlier run has packed what it is started from."""
    from .bundle import agent_zip, is_ours
    from .trust import check_is_ours

    for folder in (workspace.root, workspace.cache):
        check_is_ours(folder)
    path = agent_zip(workspace.cache)
    return CoordinatorProcess(path) if is_ours(path) else None


def _read_line(connection: socket.socket) -> bytes:
    """Read one line and not a byte more: what follows is for the viewer."""
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line
