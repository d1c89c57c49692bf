"""Many simulated agents in one process: what a node's agent says to its coordinator, and nothing that it does.

Reads a line for each node, with its number and the socket to answer on. Writes a line when that listens, and one when
its coordinator has let it go. How the connection comes about is `_Front`'s business alone; an `_Agent` just talks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from regiment.launcher.node.channel import Channel, accept, listen
from regiment.launcher.node.limits import raise_limits
from regiment.launcher.node.loop import Loop

Message = dict[str, Any]


class _Agents:
    """All the agents of this process; their ranks end when all of them have started."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._expected = 0
        self._started: list[_Agent] = []
        self._released = 0
        self._rest = b""

    def read(self) -> None:
        """Take up nodes."""
        data = os.read(0, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            node, path = json.loads(line)
            self._expected += 1
            _Front(self._loop, self, node, path)
        if not data:
            self._loop.on_read(0, None)

    def started(self, agent: _Agent) -> None:
        """Take down that an agent has started its ranks."""
        self._started.append(agent)
        if len(self._started) == self._expected:
            for each in self._started:
                each.end_ranks()

    def released(self, node: int) -> None:
        """Take down that an agent was let go; the last one ends the process."""
        _say({"gone": node})
        self._released += 1
        if self._released == self._expected:
            self._loop.stop()


class _Front:
    """One agent's socket, until its coordinator has called."""

    def __init__(self, loop: Loop, agents: _Agents, node: int, path: str) -> None:
        self._loop = loop
        self._agents = agents
        self._node = node
        self._listener = listen(path)
        loop.on_read(self._listener.fileno(), self._accept)
        _say({"node": node, "socket": path, "pid": os.getpid(), "keeperPid": os.getpid()})

    def _accept(self) -> None:
        connection = accept(self._listener)
        if connection is not None:
            self._loop.on_read(self._listener.fileno(), None)
            self._listener.close()
            self._agent = _Agent(self._node, self._agents, lambda message: self._channel.send(message))
            self._channel = Channel(self._loop, connection, self._hear, lambda: None)

    def _hear(self, message: Message) -> None:
        if self._agent.hear(message):
            self._channel.close()
            self._agents.released(self._node)


class _Agent:
    """What one node's agent says."""

    def __init__(self, node: int, agents: _Agents, say: Callable[[Message], None]) -> None:
        self._node = node
        self._agents = agents
        self._say = say
        self._ranks: list[int] = []

    def hear(self, message: Message) -> bool:
        """Answer; gives whether the coordinator has let it go."""
        kind = message["type"]
        if kind in _ANSWERS:
            self._say(_ANSWERS[kind](self._node, message))
        elif kind == "start":
            self._ranks = [process["rank"] for process in message["plan"]["processes"]]
            for rank in self._ranks:
                self._say({"type": "started", "rank": rank, "pid": 100_000 + rank})
            self._agents.started(self)
        return bool(kind == "release")

    def end_ranks(self) -> None:
        """Say that all ranks have ended well."""
        for rank in self._ranks:
            said = {"type": "exited", "rank": rank, "exitCode": 0, "signal": None, "asked": False}
            self._say({**said, "at": time.monotonic()})


def _hello(node: int, message: Message) -> Message:
    pid, address = os.getpid(), f"10.{100 + (node >> 16)}.{node >> 8 & 255}.{node & 255}"
    about = {"host": f"worker-{node}", "address": address, "cpus": list(range(8)), "numa": [list(range(8))]}
    return {"type": "agentHello", "protocol": 1, "node": node, "pid": pid, "keeperPid": pid, "bootId": "none", **about}


_ANSWERS: dict[str, Callable[[int, Message], Message]] = {
    "coordinatorHello": _hello,
    "reservePorts": lambda node, message: {"type": "portsReserved", "ports": list(range(1, 1 + message["count"]))},
    "prepare": lambda node, message: {"type": "prepared"},
    "stop": lambda node, message: {"type": "stopped"},
    "collect": lambda node, message: {"type": "collected"},
    "ping": lambda node, message: {"type": "pong"},
}


def _say(line: Message) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def main() -> None:
    """Be all of these agents until the last is let go."""
    raise_limits()
    loop = Loop()
    loop.on_read(0, _Agents(loop).read)
    loop.run()


if __name__ == "__main__":
    main()
