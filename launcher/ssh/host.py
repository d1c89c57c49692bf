"""Regiment on a host that is reached over ssh: a process that outlives the connections, and a pipe for each of them.

The first call leaves the node's relay there, in a session of its own. It listens on a Unix socket; the call's own
process, and that of each later one, only carries bytes between its ssh connection and that socket.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys

from ..join.relay import Relay
from ..node import scratch
from ..node.channel import accept, listen
from ..node.loop import Loop
from . import agents
from .bootstrap import MARK
from .cable import Cable

_PIECE = 256 * 1024
_OF_CALL = ("SSH_CLIENT", "SSH2_CLIENT", "SSH_CONNECTION", "SSH_TTY", "SSH_AUTH_SOCK", "SSH_ORIGINAL_COMMAND")
"""What sshd says of one connection, which the job outlives. Many a bash that sees the first reads `.bashrc` for each
`bash -c`, as if it were started by sshd itself, and with it another PATH than the one it was given."""


def main() -> None:
    """Leave the node's relay, and be its first pipe."""
    folder = scratch.socket_folder()
    path = f"{folder}/host.sock"
    listener = listen(path)
    if os.fork() == 0:
        try:
            leave_caller()
            status = _serve(listener)
        finally:
            scratch.remove_sockets(folder)
        os._exit(status)
    listener.close()
    _pipe(path)


def pipe() -> None:
    """Carry bytes between standard input and output and the relay whose socket the first argument names."""
    _pipe(sys.argv[1])


# --- the relay --------------------------------------------------------------------------------------


def leave_caller() -> None:
    """Be of no session, and hold none of its files."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    # An ssh connection that goes is none of its business; what ends it is its coordinator's silence.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _serve(listener: socket.socket) -> int:
    from pathlib import Path

    loop = Loop()
    cable = Cable(loop, on_broken=_nothing)

    def take() -> None:
        connection = accept(listener)
        if connection is not None:
            cable.attach(connection)

    loop.on_read(listener.fileno(), take)
    address = own_address()
    forget_call()
    zip_path = Path(sys.argv[0]).absolute()
    agents.keep_used(loop, str(zip_path))
    agents.tidy(str(zip_path))
    relay = Relay("the coordinator", cable.end, address, zip_path, None, _quiet, loop)
    return relay.run()


def own_address() -> str:
    """Give the address that whoever called has reached this host at."""
    words = os.environ.get("SSH_CONNECTION", "").split()
    return words[2].partition("%")[0] if len(words) == 4 else "127.0.0.1"


def forget_call() -> None:
    """Take what sshd says of this connection out of the environment, which the job gets."""
    for name in _OF_CALL:
        os.environ.pop(name, None)


def _nothing() -> None:
    """Wait for the next call; whether it comes too late the relay decides."""


def _quiet(text: str) -> None:
    """Tell nobody: there is none here who could read it."""


# --- the pipe ---------------------------------------------------------------------------------------


def _pipe(path: str) -> None:
    relay = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        relay.connect(path)
    except OSError:
        _say({"isThere": False})
        return
    _say({"isThere": True, "socket": path, "zip": os.path.abspath(sys.argv[0])})
    ways = {0: relay.fileno(), relay.fileno(): 1}
    while True:
        for source in select.select(list(ways), (), ())[0]:
            data = os.read(source, _PIECE)
            if not data:
                return
            _write(ways[source], data)


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(target, view) :]
    except OSError:
        sys.exit(0)  # One end has gone; the other one finds that out from our own end.


def _say(words: dict[str, object]) -> None:
    os.write(1, b"\n" + MARK + json.dumps(words).encode() + b"\n")
