"""The keeper: parent of a node's agent, and the one that leaves nothing behind when the agent is gone.

It adopts every orphan the agent's processes leave (setsid and double forks included), and does nothing
else while the agent lives. However the agent ends, everything it started is killed before the keeper
ends; the end of the keeper's standard output tells the coordinator so.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from . import processes, scratch
from .cgroups import NodeGroup

_KILL_LIMIT = 10.0
"""Seconds after which processes that cannot be killed (stuck in the kernel) are left, and named."""


def main() -> None:
    """Run a node: read its configuration from standard input, start the agent, keep it."""
    config = json.loads(sys.stdin.buffer.readline())
    processes.become_subreaper("regiment-keeper")
    # Terminal signals are the coordinator's business; whoever wants the node to end tells its agent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Until the agent can take them; it passes them on.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    lifeline_read, lifeline_write = os.pipe()
    keeper = os.getpid()
    group = NodeGroup(config["tag"])
    agent = os.fork()
    if agent == 0:
        os.close(lifeline_write)
        _become_agent(config, keeper, lifeline_read, group)
    # Meanwhile the agent starts up: the kernel takes some 10 ms for this.
    group.make(agent)
    os.close(lifeline_read)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        _forward(number, agent)
    _wait_for(agent)
    group.kill()
    left = processes.kill_all(config["tag"], keeper, (), _KILL_LIMIT)
    if left:
        print(f"could not kill {left} on {config['nodeId']}: they are stuck in the kernel", file=sys.stderr)
    group.remove()
    _tidy(config["socket"])


def _become_agent(config: dict[str, Any], keeper: int, lifeline: int, group: NodeGroup) -> None:
    status = 70
    try:
        from .agent import run_agent

        status = run_agent(config, keeper, lifeline, group)
    except BaseException:  # noqa: BLE001  (this child must end here, and say why)
        import traceback

        traceback.print_exc()
    finally:
        # The keeper's own code must not run a second time in this child, whatever happened.
        sys.stderr.flush()
        os._exit(status)


def _forward(number: signal.Signals, agent: int) -> None:
    def handler(_: int, __: FrameType | None) -> None:
        processes.send_signal(agent, number)

    signal.signal(number, handler)


def _wait_for(agent: int) -> None:
    """Wait for the agent's end, reaping the orphans that come by meanwhile."""
    while True:
        try:
            if os.waitpid(-1, 0)[0] == agent:
                return
        except ChildProcessError:
            return


def _tidy(socket_path: str) -> None:
    """Take away the node's socket and what lies beside it, and the run's socket folder if we are its last user."""
    folder = os.path.dirname(socket_path)
    _try(os.unlink, socket_path)
    _try(os.unlink, f"{socket_path}.rsh")
    _try(os.unlink, f"{socket_path}.preemption")
    _try(os.unlink, f"{socket_path}.marks")
    scratch.remove(f"{socket_path}.tmp")
    scratch.remove(scratch.shared_memory(socket_path))
    scratch.remove_socket_of_dead(f"{folder}/coordinator.sock")


def _try(remove: Callable[[str], None], path: str) -> None:
    try:
        remove(path)
    except OSError:
        pass  # It is gone already, or others still use it.
