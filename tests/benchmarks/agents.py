"""Many simulated agents in one process: what a node's agent says to its coordinator, and nothing that it does.

Reads a line for each node, with its number and the socket to answer on. Writes a line when that listens, and one when
its coordinator has let it go. How the connection comes about is `_Front`'s business alone; an `_Agent` just talks.

`agents.py FIRST STEP NODES PORT`: every STEP-th node from FIRST on joins over the network instead, as `regiment agent`
does: over TLS, with the proof of the run's key, which is the first line to read.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import regiment
from regiment.distribution.places.place import Place
from regiment.launcher.join.dialing import dial
from regiment.launcher.node import joining
from regiment.launcher.node.channel import Channel, LineChannel, accept, decode, encode, listen
from regiment.launcher.node.limits import raise_limits
from regiment.launcher.node.loop import Loop

Message = dict[str, Any]


class _Agents:
    """All the agents of this process; their ranks end when all of them have started."""

    def __init__(self, loop: Loop, expected: int = 0) -> None:
        self._loop = loop
        self._expected = expected
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


class _Joined:
    """One agent, and its node's `regiment agent`."""

    def __init__(self, loop: Loop, agents: _Agents, place: Place, key: bytes) -> None:
        self._agents = agents
        self._node = place.rank
        connection = dial(place, key, 60.0, lambda text: None)
        self._agent = _Agent(place.rank, agents, lambda message: self._channel.send_line(encode(message)))
        self._channel = LineChannel(loop, connection.stream, self._hear, lambda: None)
        about = (joining.PROTOCOL, regiment.__version__, f"worker-{place.rank}", connection.address, sys.executable)
        self._tell(joining.Join(*about, cpus=tuple(range(8)), gpus=None))

    def _hear(self, line: bytes) -> None:
        inside = joining.opened(line)
        if inside is None:
            message = decode(line)
            assert message is not None
            if self._agent.hear(message):
                self._tell(joining.NodeClean())
            return
        match joining.understood(joining.ToNode, inside):
            case joining.Keep():
                self._tell(joining.AgentReady(os.getpid(), os.getpid(), "none"))
            case joining.RunEnded():
                self._channel.close()
                self._agents.released(self._node)

    def _tell(self, message: joining.FromNode) -> None:
        self._channel.send_line(joining.enveloped(message))


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


def _join(loop: Loop, ranks: range, port: int) -> None:
    """Join one after the other, and listen to those that have joined between any two."""
    agents, key, waiting = _Agents(loop, len(ranks)), bytes.fromhex(sys.stdin.readline()), iter(ranks)

    def next_one() -> None:
        rank = next(waiting, None)
        if rank is not None:
            _Joined(loop, agents, Place(ranks.stop, rank, "127.0.0.1", port, key_file="", source=""), key)
            loop.post(next_one)

    loop.post(next_one)


def main() -> None:
    """Be all of these agents until the last is let go."""
    raise_limits()
    gc.disable()  # A real agent has so few objects that it looks for garbage once or twice.
    loop = Loop()
    if len(sys.argv) > 1:
        first, step, nodes, port = map(int, sys.argv[1:])
        _join(loop, range(first, nodes, step), port)
    else:
        loop.on_read(0, _Agents(loop).read)
    loop.run()


if __name__ == "__main__":
    main()
