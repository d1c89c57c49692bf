"""Starts keepers on this machine, which may be before there is a node for them: their Python takes a while to start."""

from __future__ import annotations

import os
import signal
import socket

from ..node.tag import TAG, tag_of

TYPE_CHECKING = False  # As typing's, which takes a while to import.
if TYPE_CHECKING:
    from ..node.config import NodeConfig


class KeeperProcess:
    """A keeper that waits to be told what node it keeps; without that, it ends when this process does."""

    def __init__(self, python: str, zip_path: str, tag: str) -> None:
        """Start it from the packed agent, in a session of its own."""
        self.tag = tag
        theirs, self._input = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.output, output_write = os.pipe2(os.O_CLOEXEC)
        """The end of a pipe: the agent says hello there, and its end is the end of the node."""
        self.pid = os.posix_spawn(
            python,
            [python, "-I", "-S", zip_path, "keeper"],
            {**os.environ, TAG: tag},
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0), (os.POSIX_SPAWN_DUP2, output_write, 1)],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
        )
        theirs.close()
        os.close(output_write)

    def keep(self, config: NodeConfig) -> None:
        """Tell it what node it keeps; our standard error becomes its own, if it was another one when it started."""
        import json

        from regiment.jobs.plain import to_plain

        data = json.dumps(to_plain(config)).encode() + b"\n"
        try:
            sent = socket.send_fds(self._input, [data], [2])
            self._input.sendall(data[sent:])
        except OSError:
            pass  # It has been killed; the end of its output says so.
        self._input.close()


class FirstKeeper:
    """The keeper of node 0, which every run has: it starts before anybody knows what the run will be."""

    def __init__(self, python: str, zip_path: str) -> None:
        self.token = os.urandom(8).hex()
        """The run's: by it its processes are found."""
        self.process = KeeperProcess(python, zip_path, tag_of(self.token, 0, 0))
