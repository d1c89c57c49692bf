"""Runs a program as a rank that is started by itself, and as one that is forked, with the agent's own code.

A process of its own, for it adopts orphans and takes signals, as an agent does: `python both_ways.py < cases`. It
prints how each case ended both ways, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regiment.distribution.planner import make_plan
from regiment.jobs.placement import Node, Placement
from regiment.jobs.spec import ArgvCommand, JobSpec, Options, PyTorch, ShellCommand, StartMethod
from regiment.launcher.node import messages, processes
from regiment.launcher.node.cgroups import NodeGroup
from regiment.launcher.node.config import NodeConfig
from regiment.launcher.node.loop import Loop
from regiment.launcher.node.nodelog import NodeLog
from regiment.launcher.node.preloads import Preloads
from regiment.launcher.node.ranks import Ranks


@dataclass
class Outcome:
    """How a case ended."""

    ends: list[tuple[int | None, str | None]] = field(default_factory=list)
    """Exit code and signal of each rank."""
    logs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run(folder: Path, case: dict[str, Any], method: StartMethod) -> Outcome:
    """Run one case in its folder."""
    command = case["command"]
    ranks = case.get("ranks", 1)
    spec = JobSpec(
        command=ShellCommand(command) if isinstance(command, str) else ArgvCommand(tuple(command)),
        experiment_name="both-ways",
        environment_variables=case.get("environ", {}),
        distribution=PyTorch(ranks),
        options=Options(method, preload=tuple(case["preload"]) if method is StartMethod.FORK else None),
    )
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    node = Node(0, "node-0", "host", "127.0.0.1", ranks, cpus, sys.executable)
    plan = make_plan(spec, Placement((node,), "12345"), "run", 0).nodes[0]
    logs = folder.with_name(f"{folder.name}-{method.value}")
    logs.mkdir()
    socket = str(folder.with_name("agent"))
    unused = str(logs)
    config = NodeConfig(
        node=0,
        node_id="node-0",
        tag=str(folder),
        socket=socket,
        address="127.0.0.1",
        cpus=(),
        lease=1.0,
        zip=str(folder),
        python=sys.executable,
        outputs=unused,
        logs=unused,
        live_logs=unused,
        metrics=str(folder),
        fetched=unused,
    )
    return _outcome(config, messages.Start(plan), logs, ranks)


def _outcome(config: NodeConfig, order: messages.Start, logs: Path, count: int) -> Outcome:
    loop, outcome, ends = Loop(), Outcome(), {}

    def hear(message: messages.FromAgent) -> None:
        if isinstance(message, messages.Note):
            outcome.notes.append(message.text)
        if isinstance(message, messages.Exited):
            ends[message.rank] = (message.exit_code, message.signal)
        if len(ends) == count:
            ranks.when_clean(loop.stop)
            loop.post(lambda: ranks.end_launchers(0))

    log = NodeLog("node-0", print)
    log.open(logs)
    ranks = Ranks(loop, config, 0, NodeGroup(config.tag), Preloads(), log, hear)
    loop.on_signal(signal.SIGCHLD, ranks.reap)
    ranks.start(order, logs)
    loop.run()
    assert ranks.wait_for_logs(60)
    loop.close()
    outcome.ends = [ends[rank] for rank in range(count)]
    outcome.logs = [(logs / process.log).read_text("utf-8", "surrogateescape") for process in order.plan.processes]
    return outcome


def main() -> None:
    """Run all cases that are given, each in its own folder."""
    processes.become_subreaper("both-ways")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    results = {}
    for name, case in json.load(sys.stdin).items():
        folder = Path.cwd() / name
        for path, text in case["files"].items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, "utf-8")
        home = Path.cwd()
        os.chdir(folder)
        results[name] = {
            method.value: vars(run(folder, case, method)) for method in (StartMethod.SPAWN, StartMethod.FORK)
        }
        os.chdir(home)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
