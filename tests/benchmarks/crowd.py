"""A run with thousands of simulated agents and a real coordinator: `crowd.py CARRIER NODES RANKS PROCESSES FOLDER`.

The coordinator is the real one, with the real loop, plan, record and run folder; what it takes for nodes are the agents
of agents.py. CARRIER is `plain` for Unix sockets, or `secured` for TLS with the proof of the run's key: then node 0 is
real, with ranks that end at once. With `floor` and `secured_floor` there is no coordinator, and what is said is the
same: nothing but the key is checked, nothing decided or written, and no coordinator in Python could be faster. Prints
what it took, as JSON.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regiment.jobs.journal import read_journal
from regiment.jobs.lock import lock_new
from regiment.jobs.record import RunRecord, RunStatus, read_record, utc_text, write_record
from regiment.jobs.spec import ArgvCommand, JobSpec, Options, PyTorch, StartMethod
from regiment.jobs.workspace import RunFolder, Workspace
from regiment.launcher.backends.backend import Backend, Ready, Share
from regiment.launcher.backends.joined import JoinedNodes
from regiment.launcher.backends.keepers import FirstKeeper
from regiment.launcher.backends.local import on_this_machine
from regiment.launcher.backends.machine import machine_shares
from regiment.launcher.bundle import packed_agent
from regiment.launcher.coordinator.coordinator import Coordinator
from regiment.launcher.coordinator.entrance import Arrival, Entrance
from regiment.launcher.coordinator.life import make_room
from regiment.launcher.coordinator.network import Network
from regiment.launcher.coordinator.order import Order
from regiment.launcher.join.certificate import make_certificate
from regiment.launcher.node import joining
from regiment.launcher.node.channel import Channel, LineChannel, decode, encode
from regiment.launcher.node.config import NodeConfig
from regiment.launcher.node.loop import Loop

_AGENTS = Path(__file__).with_name("agents.py")


Hello = Callable[[dict[str, Any]], None]
Gone = Callable[[], None]


class _AgentProcess:
    """A process with some of the agents."""

    def __init__(self, loop: Loop) -> None:
        self._process = subprocess.Popen([sys.executable, _AGENTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None and self._process.stdout is not None
        self.pid = self._process.pid
        self._nodes: dict[int, tuple[Hello, Gone]] = {}
        self._input = self._process.stdin
        self._output = self._process.stdout.fileno()
        # Nobody reads before all nodes have been started: with a pipe of the usual size both sides would wait.
        fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, 1 << 20)
        self._rest = b""
        loop.on_read(self._output, lambda: self._read(loop))

    def start(self, node: int, path: str, on_ready: Hello, on_gone: Gone) -> None:
        """Have it be one node more."""
        self._nodes[node] = on_ready, on_gone
        self._input.write(json.dumps([node, path]).encode() + b"\n")
        self._input.flush()

    def _read(self, loop: Loop) -> None:
        data = os.read(self._output, 1 << 16)
        if not data:
            loop.on_read(self._output, None)
            self._process.wait()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in map(json.loads, lines):
            if "gone" in line:
                self._nodes[line["gone"]][1]()
            else:
                self._nodes[line["node"]][0](line)


class _SimulatedNode:
    """A node that nothing has to be fenced on."""

    ends_by: float | None = None

    def __init__(self, keeper: int) -> None:
        self.keeper = keeper

    def fence(self, others: frozenset[int]) -> list[int]:
        """Do nothing, for it runs nothing."""
        return []


class _SimulatedNodes:
    """Spreads the nodes over a few processes."""

    token = "0123456789abcdef"
    may_be_apart = False
    hidden: tuple[str, ...] = ()

    def __init__(self, processes: int, nodes: int) -> None:
        self._count = processes
        self._shares = machine_shares(nodes)
        self._processes: list[_AgentProcess] = []

    def open(self, loop: Loop, note: Callable[[str], None], on_return: Callable[[], None]) -> None:
        """Do nothing."""

    def share(self, index: int) -> Share:
        """Give a node's share of this machine."""
        return self._shares[index]

    def end(self, exit_status: int, text: str, then: Callable[[], None]) -> None:
        """Tell nobody."""
        then()

    def start(
        self,
        loop: Loop,
        config: NodeConfig,
        on_ready: Callable[[Ready], None],
        on_lost: Callable[[str], None],
        on_gone: Gone,
    ) -> _SimulatedNode:
        """Have one of the processes be that node."""
        if len(self._processes) < self._count:
            self._processes.append(_AgentProcess(loop))
        process = self._processes[config.node % self._count]
        process.start(config.node, config.socket, lambda hello: on_ready(on_this_machine(loop, hello)), on_gone)
        return _SimulatedNode(process.pid)


def _joining(processes: int, first_node: int, nodes: int) -> tuple[Network, socket.socket]:
    """Start a few processes with nodes that join over the network."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    key = os.urandom(32).hex()
    port = str(listener.getsockname()[1])
    for first in range(first_node, first_node + processes):
        command = [sys.executable, str(_AGENTS), str(first), str(processes), str(nodes), port]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stdin is not None
        process.stdin.write(f"{key}\n".encode())
        process.stdin.close()
    return Network("127.0.0.1", key, *make_certificate(), start_timeout=600.0), listener


class _Floor:
    """Says to all agents what a coordinator would."""

    steps = (
        ("agentHello", "registered", {"type": "reservePorts", "count": 2}),
        ("portsReserved", None, {"type": "prepare", "working_folder": "/tmp", "logs": "/tmp"}),
        ("prepared", "prepared", {"type": "start"}),
        ("started", "ready", None),
        ("exited", "exited", {"type": "collect"}),
        ("collected", None, {"type": "release"}),
    )

    def __init__(self, nodes: int, ranks: int, processes: int, root: Path) -> None:
        self.at: dict[str, float] = {}
        self._nodes, self._ranks = nodes, ranks
        self._loop = Loop()
        self._channels: list[LineChannel] = []
        self._count = dict.fromkeys((kind for kind, _, _ in self.steps), 0)
        self._gone = 0
        self._reach(processes, root)

    def run(self) -> None:
        """Say it all."""
        self._began = time.monotonic()
        self._loop.run()

    def _reach(self, processes: int, root: Path) -> None:
        agents = [_AgentProcess(self._loop) for _ in range(processes)]
        for node in range(self._nodes):
            agents[node % processes].start(node, f"{root}/{node}", self._call, self._left)

    def _call(self, hello: dict[str, Any]) -> None:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(hello["socket"])
        channel = Channel(self._loop, connection, self._hear, lambda: None)
        self._channels.append(channel)
        channel.send_line(_COORDINATOR_HELLO)

    def _hear(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        self._count[kind] += 1
        if self._count[kind] < self._nodes * (self._ranks if kind in ("started", "exited") else 1):
            return
        _, what, answer = next(step for step in self.steps if step[0] == kind)
        if what is not None:
            self.at[what] = time.monotonic() - self._began
        if answer is not None:
            for node, channel in enumerate(self._channels):
                channel.send_line(encode({**answer, **self._plan(node)} if answer["type"] == "start" else answer))

    def _plan(self, node: int) -> dict[str, Any]:
        ranks = range(node * self._ranks, (node + 1) * self._ranks)
        environ = {f"VARIABLE_{number}": str(number) for number in range(20)}
        return {"plan": {"processes": [{"rank": rank, "environ": environ} for rank in ranks]}}

    def _left(self) -> None:
        self._gone += 1
        if self._gone == self._nodes:
            self.at["ended"] = time.monotonic() - self._began
            self._loop.stop()


class _SecuredFloor(_Floor):
    """Says it over TLS, to agents that have proven the key."""

    def _reach(self, processes: int, root: Path) -> None:
        network, listener = _joining(processes, 0, self._nodes)
        self._keep = joining.enveloped(joining.Keep(_SOME_NODE))
        Entrance(self._loop, listener, network, self._arrived, print)

    def _arrived(self, arrival: Arrival) -> None:
        channel = LineChannel(self._loop, arrival.stream, lambda line: self._take(channel, line), self._left)
        self._channels.append(channel)

    def _take(self, channel: LineChannel, line: bytes) -> None:
        message = decode(line)
        assert message is not None
        match message.get("relay", message)["type"]:
            case "join":
                channel.send_line(self._keep)
            case "agentReady":
                channel.send_line(_COORDINATOR_HELLO)
            case "nodeClean":
                channel.send_line(joining.enveloped(joining.RunEnded(0, "")))
            case _:
                self._hear(message)


_SOME_NODE = NodeConfig(0, "node-0", "", "", "127.0.0.1", (), 1.0, *7 * ("/tmp",))
_COORDINATOR_HELLO = encode({"type": "coordinatorHello", "protocol": 1, "run_id": "crowd"})


def _submit(nodes: int, ranks: int, root: Path, zip_path: Path) -> tuple[Order, RunFolder]:
    spec = JobSpec(
        command=ArgvCommand(("true",)),
        experiment_name="crowd",
        distribution=PyTorch(ranks),
        instance_count=nodes,
        working_folder=str(root),
        options=Options(start_method=StartMethod.SPAWN),
    )
    workspace = Workspace(root / ".regiment")
    workspace.runs.mkdir(parents=True, mode=0o700)
    folder = workspace.run("crowd")
    folder.root.mkdir(mode=0o700)
    write_record(
        folder.record,
        RunRecord(
            run_id="crowd",
            experiment_name="crowd",
            status=RunStatus.NOT_STARTED,
            created_utc=utc_text(time.time()),
            command="true",
            target="local",
            distribution="pytorch",
            instance_count=nodes,
            process_count=nodes * ranks,
            attached=False,
        ),
    )
    python = sys.executable
    return Order(
        spec, str(workspace.root), "crowd", attached=False, zip=str(zip_path), python=python, agent_python=python
    ), folder


def _see_through(carrier: str, nodes: int, ranks: int, processes: int, root: Path) -> dict[str, Any]:
    zip_path = packed_agent(root)
    order, folder = _submit(nodes, ranks, root, zip_path)
    owner, ours = socket.socketpair()
    owner.close()
    began = time.monotonic()
    backend: Backend = _SimulatedNodes(processes, nodes)
    if carrier == "secured":
        backend = JoinedNodes(FirstKeeper(sys.executable, str(zip_path)), nodes, *_joining(processes, 1, nodes))
    Coordinator(order, folder, ours, lock_new(folder.lock), backend).run()
    took = time.monotonic() - began
    at: dict[str, float] = {}
    counts: dict[str, int] = {}
    for event in read_journal(folder.events):
        word = str(event["state"] if event["event"] == "node" else event["event"])
        at[word] = event["at"]
        counts[word] = counts.get(word, 0) + 1
    assert read_record(folder.record).status is RunStatus.COMPLETED
    assert counts["process_started"] == counts["process_exited"] == ranks * nodes
    return {
        "registered": at["ready"],
        "prepared": at["prepared"],
        "ready": at["process_started"],
        "exited": at["process_exited"],
        "ended": took,
    }


def _floor(carrier: str, nodes: int, ranks: int, processes: int, root: Path) -> dict[str, Any]:
    floor = (_Floor if carrier == "floor" else _SecuredFloor)(nodes, ranks, processes, root)
    floor.run()
    return floor.at


def main() -> None:
    """See the run through."""
    make_room()
    carrier, root = sys.argv[1], Path(sys.argv[5])
    nodes, ranks, processes = map(int, sys.argv[2:5])
    if carrier in ("floor", "secured_floor"):
        took = _floor(carrier, nodes, ranks, processes, root)
    else:
        took = _see_through(carrier, nodes, ranks, processes, root)
    _wait_for_agents()
    own, agents = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    processor, theirs = (usage.ru_utime + usage.ru_stime for usage in (own, agents))
    print(json.dumps({**took, "processor": processor, "theirs": theirs, "peakMegabytes": own.ru_maxrss / 1024}))


def _wait_for_agents() -> None:
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass  # All have ended.


if __name__ == "__main__":
    main()
