"""Starts a warm pool, and asks the pools there are: what `regiment warm` does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from regiment.distribution.planner import make_plan
from regiment.jobs.errors import NodeError, UserError
from regiment.jobs.files import private_folder
from regiment.jobs.placement import Node, Placement
from regiment.jobs.plain import to_plain
from regiment.jobs.spec import ArgvCommand, JobSpec, Options, PyTorch, StartMethod

from .backends import warm
from .backends.warmpool import PoolOrder
from .bundle import packed_agent
from .node import scratch
from .node.config import NodeConfig
from .node.warm import PATH_MAX, WarmOrder

_ANSWER_LIMIT = 5.0


def keep_warm(modules: tuple[str, ...], seconds: float, free: tuple[str, ...]) -> dict[str, Any]:
    """Have modules imported and kept, by a pool that is there or a new one; gives its state once they are.

    Raises:
        UserError: ranks cannot be forked from what has imported them.
        NodeError: the pool could not be started.
    """
    question = {"type": "stay", "seconds": seconds}
    prefix = warm.beginning(sys.executable, modules)
    for path in (*warm.pools(prefix), None):
        try:
            state, _ = warm.ask(path or _start(prefix, modules, free), question, limit=None)
            break
        except warm.NoPool:
            continue
    else:
        raise NodeError("the warm pool has ended unexpectedly; try once more")
    if not state["isReady"]:
        raise UserError(f"nothing can be forked from what has imported {', '.join(modules)}: {state['reason']}")
    return state


def kept() -> list[dict[str, Any]]:
    """Give the states of all pools of this user on this machine."""
    return _of_all({"type": "look"})


def stop_all() -> list[dict[str, Any]]:
    """End all pools of this user on this machine; gives what they were."""
    return _of_all({"type": "stop"})


def _of_all(question: dict[str, Any]) -> list[dict[str, Any]]:
    states = []
    for path in warm.pools():
        try:
            states.append(warm.ask(path, question, _ANSWER_LIMIT)[0])
        except warm.NoPool:
            continue  # It was killed; the next one there clears up.
    return states


def _start(prefix: str, modules: tuple[str, ...], free: tuple[str, ...]) -> str:
    """Start a pool; gives its socket once it listens."""
    base = Path(warm.folder())
    private_folder(base)
    if not warm.is_ours(str(base)):
        raise UserError(f"{base} is not this user's alone; remove it, or set XDG_RUNTIME_DIR to a folder of yours")
    _clear_up()
    folder = base / f"{prefix}{os.urandom(4).hex()}"
    private_folder(folder)
    packed = packed_agent(folder)
    order = PoolOrder(str(folder), sys.executable, str(packed), _warm_order(packed, modules, free))
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(packed), "warm"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    with process.stdin as giver, process.stdout as output:
        giver.write(json.dumps(to_plain(order)) + "\n")
        giver.flush()
        output.readline()  # It listens.
    return str(folder / warm.SOCKET)


def _clear_up() -> None:
    """Take away what pools have left that were killed."""
    for path in warm.pools():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                scratch.remove(str(Path(path).parent))
            except OSError:
                continue


def _warm_order(zip_path: Path, modules: tuple[str, ...], free: tuple[str, ...]) -> WarmOrder:
    """Make what a job would be for which the modules are imported: so its environment will be the same."""
    placeholder = "program-that-is-not-known-yet-" + os.urandom(8).hex()
    command = ArgvCommand(("python", placeholder.ljust(PATH_MAX, "-")))
    spec = JobSpec(
        command=command,
        experiment_name="warm",
        distribution=PyTorch(1),
        options=Options(start_method=StartMethod.FORK, preload=modules),
    )
    node = Node(0, "node-0", "localhost", "127.0.0.1", 1, (), sys.executable)
    plan = make_plan(spec, Placement((node,), "0"), "warm", 0, None).nodes[0]
    config = NodeConfig(
        node=0,
        node_id="node-0",
        tag="",
        socket="",
        address="127.0.0.1",
        cpus=(),
        lease=0.0,
        zip=str(zip_path),
        python=sys.executable,
        outputs="",
        logs="",
        live_logs="",
        metrics="",
        fetched="",
    )
    return WarmOrder(config, plan, modules, free)
