"""Runs a program as a rank that is started by itself, and as one that is forked, with the agent's own code.

A case may ask for a third way: to be forked from what has imported before there was a program, as in the warm pool.

A process of its own, for it adopts orphans and takes signals, as an agent does: `python both_ways.py < cases`. It
prints how each case ended both ways, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regiment.distribution.plan import NodePlan
from regiment.distribution.planner import make_plan
from regiment.jobs.dataclass import replace
from regiment.jobs.placement import Node, Placement
from regiment.jobs.spec import ArgvCommand, JobSpec, Options, PyTorch, ShellCommand, StartMethod
from regiment.launcher.node import messages, processes
from regiment.launcher.node.cgroups import NodeGroup
from regiment.launcher.node.config import NodeConfig
from regiment.launcher.node.loop import Loop
from regiment.launcher.node.nodelog import NodeLog
from regiment.launcher.node.preloads import Preloads
from regiment.launcher.node.ranks import Ranks
from regiment.launcher.node.warm import PATH_MAX, Warm, WarmOrder


@dataclass
class Outcome:
    """How a case ended."""

    ends: list[tuple[int | None, str | None]] = field(default_factory=list)
    """Exit code and signal of each rank."""
    logs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    node_log: str = ""


WARM = "warm"


def run(folder: Path, case: dict[str, Any], way: str) -> Outcome:
    """Run one case in its folder."""
    method = StartMethod.FORK if way == WARM else StartMethod(way)
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
    logs = folder.with_name(f"{folder.name}-{way}")
    logs.mkdir()
    path = str(folder.with_name("agent"))
    unused = str(logs)
    config = NodeConfig(
        node=0,
        node_id="node-0",
        tag=str(folder),
        socket=path,
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
    preloads, loop = Preloads(), Loop()
    if way == WARM:
        preloads, loop = _import_early(replace(config, socket=f"{folder}-pool/agent"), plan, tuple(case["preload"]))
    return _outcome(config, messages.Start(plan), logs, ranks, preloads, loop)


def _import_early(config: NodeConfig, plan: NodePlan, modules: tuple[str, ...]) -> tuple[Preloads, Loop]:
    """Import for no program, in another folder, as an agent of the warm pool does; gives what has."""
    home = Path.cwd()
    placeholder = ("python", "not-known-yet-".ljust(PATH_MAX, "-"))
    plan = replace(plan, processes=(replace(plan.processes[0], argv=placeholder, shell_at=None),))
    warm = Warm(WarmOrder(config, plan, modules))
    giver, ours = socket.socketpair()
    said: list[dict[str, Any]] = []

    def hear(words: dict[str, Any]) -> None:
        said.append(words)
        ours.send(b"{}\n")  # What ends the waiting.

    warm.wait(giver, hear)
    assert said == [{"type": "fit"}], said
    os.chdir(home)
    return warm.preloads, warm.loop


def _outcome(
    config: NodeConfig, order: messages.Start, logs: Path, count: int, preloads: Preloads, loop: Loop
) -> Outcome:
    outcome, ends = Outcome(), {}

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
    ranks = Ranks(loop, config, 0, NodeGroup(config.tag), preloads, log, hear)
    loop.on_signal(signal.SIGCHLD, ranks.reap)
    ranks.start(order, logs)
    loop.run()
    assert ranks.wait_for_logs(60)
    loop.close()
    outcome.node_log = (logs / "55_azureml-execution-node-0.txt").read_text("utf-8", "replace")
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
        ways = [StartMethod.SPAWN.value, StartMethod.FORK.value, *([WARM] if case.get("warm") else [])]
        results[name] = {way: vars(run(folder, case, way)) for way in ways}
        os.chdir(home)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
