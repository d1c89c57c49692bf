"""A run with thousands of simulated agents and a real coordinator: `crowd.py NODES RANKS AGENT_PROCESSES FOLDER`.

The coordinator is the real one, with the real loop, plan, record and run folder; what it takes for nodes are the agents
of agents.py. Prints what it took, as JSON.
"""

from __future__ import annotations

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
from regiment.launcher.backends.backend import Ready, Share
from regiment.launcher.backends.local import on_this_machine
from regiment.launcher.backends.machine import machine_shares
from regiment.launcher.coordinator.coordinator import Coordinator
from regiment.launcher.coordinator.order import Order
from regiment.launcher.node.config import NodeConfig
from regiment.launcher.node.limits import raise_limits
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
        self._rest = b""
        loop.on_read(self._output, lambda: self._read(loop))

    def start(self, config: NodeConfig, on_ready: Hello, on_gone: Gone) -> None:
        """Have it be one node more."""
        self._nodes[config.node] = on_ready, on_gone
        self._input.write(json.dumps([config.node, config.socket]).encode() + b"\n")
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
        process.start(config, lambda hello: on_ready(on_this_machine(loop, hello)), on_gone)
        return _SimulatedNode(process.pid)


def _submit(nodes: int, ranks: int, root: Path) -> tuple[Order, RunFolder]:
    spec = JobSpec(
        command=ArgvCommand(("python", "train.py")),
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
            command="python train.py",
            target="local",
            distribution="pytorch",
            instance_count=nodes,
            process_count=nodes * ranks,
            attached=False,
        ),
    )
    python = sys.executable
    return Order(spec, str(workspace.root), "crowd", attached=False, zip="", python=python, agent_python=python), folder


def _see_through(nodes: int, ranks: int, processes: int, root: Path) -> dict[str, Any]:
    order, folder = _submit(nodes, ranks, root)
    owner, ours = socket.socketpair()
    owner.close()
    began = time.monotonic()
    Coordinator(order, folder, ours, lock_new(folder.lock), _SimulatedNodes(processes, nodes)).run()
    took = time.monotonic() - began
    at: dict[str, float] = {}
    counts: dict[str, int] = {}
    for event in read_journal(folder.events):
        word = str(event["state"] if event["event"] == "node" else event["event"])
        at[word] = event["at"]
        counts[word] = counts.get(word, 0) + 1
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "status": read_record(folder.record).status.value,
        "registered": at["ready"],
        "prepared": at["prepared"],
        "ready": at["process_started"],
        "exited": at["process_exited"],
        "ended": took,
        "processor": usage.ru_utime + usage.ru_stime,
        "peakMegabytes": usage.ru_maxrss / 1024,
        "started": counts["process_started"],
        "completed": counts["process_exited"],
    }


def main() -> None:
    """See the run through."""
    raise_limits()
    nodes, ranks, processes = map(int, sys.argv[1:4])
    print(json.dumps(_see_through(nodes, ranks, processes, Path(sys.argv[4]))))


if __name__ == "__main__":
    main()
