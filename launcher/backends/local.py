"""Nodes emulated on this machine: one keeper and agent each, with its own share of processors and GPUs."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from ..node import processes
from ..node.cgroups import NodeGroup
from ..node.channel import Channel
from ..node.config import NodeConfig
from ..node.loop import Loop
from .backend import Ready, Share
from .keepers import FirstKeeper, Keeper, KeeperProcess
from .machine import machine_shares

HIDDEN = "REGIMENT_HIDDEN_FROM_NODES"
"""The variable with folders, colons between them, that emulated nodes do not see: for tests of real separation."""
_FENCE_LIMIT = 3.0
"""Seconds in which what is left of a lost node must be dead."""


class LocalNodes:
    """Starts nodes emulated on this machine."""

    def __init__(self, first: FirstKeeper, count: int) -> None:
        self.token = first.token
        self._first: Keeper | None = first.keeper
        self._shares = machine_shares(count)
        self.hidden = hidden_folders()
        self.may_be_apart = bool(self.hidden)

    def open(self, loop: Loop, note: Callable[[str], None], on_return: Callable[[], None]) -> None:
        """Do nothing: nobody comes by himself."""

    def share(self, index: int) -> Share:
        """Give a node's share of this machine."""
        return self._shares[index]

    def start(
        self,
        loop: Loop,
        config: NodeConfig,
        on_ready: Callable[[Ready], None],
        on_lost: Callable[[str], None],
        on_gone: Callable[[], None],
    ) -> LocalNode:
        """Start a node's keeper and agent; node 0's first keeper has been there since before the job was known."""
        keeper, self._first = self._first, None
        keeper = keeper or KeeperProcess(config.python, config.zip, config.tag)
        return LocalNode(loop, config, on_ready, on_gone, keeper)

    def end(self, exit_status: int, text: str, then: Callable[[], None]) -> None:
        """Tell nobody: whoever sees this machine sees the run's end."""
        then()


class LocalNode:
    """The keeper and agent of one emulated node, seen from the coordinator."""

    ends_by: float | None = None

    def __init__(
        self,
        loop: Loop,
        config: NodeConfig,
        on_ready: Callable[[Ready], None],
        on_gone: Callable[[], None],
        keeper: Keeper,
    ) -> None:
        """`on_ready` hears that the agent listens; `on_gone` that the node is clean."""
        self._loop = loop
        self._tag: str = config.tag
        self._on_ready = on_ready
        self._on_gone = on_gone
        self._received = b""
        self.keeper = keeper.pid
        self._output = keeper.output
        keeper.keep(config)
        loop.on_read(self._output, self._read)

    def fence(self, others: frozenset[int]) -> list[int]:
        """Kill whatever is left of the node, its keeper last; gives the pids that would not die.

        `others` are the keepers of the other nodes. While the keeper lives, all orphans are its children; once
        it is dead, they are ours, and of our children only those that are no keeper's can be this node's.
        """
        group = NodeGroup(self._tag)
        group.kill()
        left = processes.kill_all(self._tag, self.keeper, {self.keeper}, _FENCE_LIMIT)
        processes.send_signal(self.keeper, signal.SIGKILL)
        for pid in processes.children(os.getpid()):
            if pid not in others and pid != self.keeper and pid not in left:
                left += processes.kill_tree(pid, _FENCE_LIMIT)
        group.remove()
        return left

    def _read(self) -> None:
        data = os.read(self._output, 65536)
        if not data:
            self._loop.on_read(self._output, None)
            os.close(self._output)
            self._on_gone()
            return
        self._received += data
        line, newline, self._received = self._received.partition(b"\n")
        if newline:
            self._on_ready(on_this_machine(self._loop, json.loads(line)))


def hidden_folders() -> tuple[str, ...]:
    """Give the folders that nodes on this machine are not to see."""
    return tuple(filter(None, os.environ.get(HIDDEN, "").split(":")))


def on_this_machine(loop: Loop, hello: dict[str, Any]) -> Ready:
    """Read an agent's first words: its socket and pids."""
    path: str = hello["socket"]

    def connect(on_message: Callable[[dict[str, Any]], None], on_close: Callable[[], None]) -> Channel:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(path)
        return Channel(loop, connection, on_message, on_close)

    return Ready(hello["pid"], hello["keeperPid"], path, connect)
