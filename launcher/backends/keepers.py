"""Starts keepers on this machine, which may be before there is a node for them: their Python takes a while to start."""

from __future__ import annotations

import os
import signal
import socket

from ..node.tag import TAG, tag_of

TYPE_CHECKING = False  # As typing's, which takes a while to import.
if TYPE_CHECKING:
    from typing import Any

    from ..node.config import NodeConfig
    from ..node.warm import WarmOrder


class Keeper:
    """A keeper that waits to be told what node it keeps; without that, it ends when nobody could tell it any more."""

    def __init__(self, pid: int, giver: socket.socket, output: int) -> None:
        self.pid = pid
        self._giver = giver
        self.output = output
        """The end of a pipe: the agent says hello there, and its end is the end of the node."""

    def keep(self, config: NodeConfig) -> None:
        """Tell it what node it keeps; our standard error becomes its own, if it was another one when it started."""
        from regiment.jobs.plain import to_plain

        self._tell(to_plain(config))
        self._giver.close()

    def forget(self) -> None:
        """Let it end: there is no node for it."""
        self._giver.close()
        os.close(self.output)

    def _tell(self, words: dict[str, Any]) -> None:
        import json

        data = json.dumps(words).encode() + b"\n"
        try:
            sent = socket.send_fds(self._giver, [data], [2])
            self._giver.sendall(data[sent:])
        except OSError:
            pass  # It has been killed; the end of its output says so.


class KeeperProcess(Keeper):
    """One that is started here."""

    def __init__(self, python: str, zip_path: str, tag: str) -> None:
        """Start it from the packed agent, in a session of its own."""
        theirs, giver = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        output, output_write = os.pipe2(os.O_CLOEXEC)
        pid = os.posix_spawn(
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
        super().__init__(pid, giver, output)

    def warm(self, order: WarmOrder) -> None:
        """Have its agent import what ranks of some run will need (`node/warm.py`)."""
        from regiment.jobs.plain import to_plain

        self._tell({"warm": to_plain(order)})

    def hand_over(self) -> tuple[int, int]:
        """Give the files by which a run tells it what node it keeps, and hears of it."""
        return self._giver.detach(), self.output


class FirstKeeper:
    """The keeper of node 0, which every run has: it starts before anybody knows what the run will be."""

    def __init__(self, python: str, zip_path: str) -> None:
        self.token = os.urandom(8).hex()
        """The run's: by it its processes are found."""
        self.keeper: Keeper = KeeperProcess(python, zip_path, tag_of(self.token, 0, 0))

    def replace(self, keeper: Keeper, token: str) -> None:
        """Take another one in its place, whose own token becomes the run's."""
        self.keeper.forget()
        self.keeper, self.token = keeper, token
