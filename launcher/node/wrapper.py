"""The rank wrapper: stands between a launcher such as torchrun and one process of the user's.

It asks the node's agent what to run and where its output goes, is the parent of the user's command,
reports pid and wait status, passes signals on and ends as the command ended. It imports as little as
possible, for it starts once a rank: a few milliseconds each.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from types import FrameType
from typing import Any

_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
)
_TELLING = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "GROUP_WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
)
"""Variables by which a launcher says which process this is."""
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
NOTICES = (signal.SIGUSR1, signal.SIGUSR2)
_MAX_ORDER = 16 * 1024 * 1024


def main() -> None:
    """Run one rank under the launcher that started us."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["REGIMENT_SOCKET"])
    send(connection, {"type": "wrapper", "given": {n: os.environ[n] for n in _TELLING if n in os.environ}})
    order, output = _receive_order(connection)
    # Signals wait until there is a child to pass them to.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    pid = _start(order, output)
    os.close(output)
    asked = _report_signals(connection) if order["isSupervised"] else _forward_signals(pid)
    send(connection, {"type": "started", "pid": pid})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    status = _wait(pid)
    send(connection, {"type": "ended", "status": status, "asked": bool(asked)})
    if order["isSupervised"] and status != 0:
        # mpirun would end the other ranks at once; it hears of this one when the agent has seen to all. Whether a rank
        # may end well before the others (after MPI_Finalize it may) only mpirun knows.
        wait_for_end(connection)
    end_as(status)


def _start(order: dict[str, Any], output: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        if order["cpus"]:
            _bind(order["cpus"])
        # A session's leader that opens a terminal is controlled by it from then on.
        terminal = order["terminal"]
        source = os.open(terminal or os.devnull, os.O_RDWR if terminal else os.O_RDONLY)
        for target, descriptor in enumerate((source, source, source) if terminal else (source, output, output)):
            os.dup2(descriptor, target)
        for number in (*_FORWARDED, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        keeps = tuple(order["keeps"])
        given = {name: value for name, value in os.environ.items() if not keeps or name.startswith(keeps)}
        environ = {**given, **order["environ"]}
        os.chdir(order["folder"])
        os.execvpe(order["argv"][0], order["argv"], environ)
    except OSError as error:
        os.write(2, f"regiment: cannot run {order['argv'][0]!r}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    finally:
        os._exit(126)


def _forward_signals(pid: int) -> list[int]:
    """Pass signals on to the command's process group; gives the list of those that asked it to end."""
    asked: list[int] = []

    def handler(number: int, _: FrameType | None) -> None:
        if number in ENDING and _lives(pid):
            asked.append(number)
        try:
            # A notice is for the command alone; what it has started (data loaders, say) would die of it.
            (os.kill if number in NOTICES else os.killpg)(pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # It has just ended; its wait status says how.

    for number in _FORWARDED:
        signal.signal(number, handler)
    return asked


def _report_signals(connection: socket.socket) -> list[int]:
    """Tell the agent of signals that ask the command to end, and leave the rest to it."""

    def handler(number: int, _: FrameType | None) -> None:
        send(connection, {"type": "asked", "signal": number})

    for number in _FORWARDED:
        signal.signal(number, handler)
    return []


def wait_for_end(connection: socket.socket) -> None:
    """Wait until the agent lets us go."""
    try:
        connection.recv(1)
    except OSError:
        pass  # The agent is gone, and with it whoever the wait was for.


def _bind(cpus: list[int]) -> None:
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        os.write(2, f"regiment: cannot bind to CPUs {cpus}: {error.strerror}\n".encode())


def _lives(pid: int) -> bool:
    """Say whether our child has not ended yet; one that only waits to be reaped has."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False  # It has been reaped, and its end is just being reported.


def _wait(pid: int) -> int:
    while True:
        found, status = os.waitpid(pid, 0)
        if found == pid:
            return status


def end_as(status: int) -> None:
    """End the way the command ended, so that the launcher above sees the same."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # The command's core file, if any, is the one that counts.
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Tell the agent, if it is there."""
    try:
        connection.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        pass  # The agent is gone; its keeper is about to end all of us.


def _receive_order(connection: socket.socket) -> tuple[dict[str, Any], int]:
    """Get the command, its environment and folder, and the pipe for its output."""
    data = b""
    fds: list[int] = []
    while not data.endswith(b"\n"):
        part, new, _, _ = socket.recv_fds(connection, 65536, 1)
        data += part
        fds += new
        if not part or len(data) > _MAX_ORDER:
            # The agent does not want this rank any more: the run is being stopped.
            sys.exit(143)
    # What comes through a socket would stay open in the command as one file more.
    os.set_inheritable(fds[0], False)
    return json.loads(data), fds[0]
