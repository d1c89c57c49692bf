"""The keeper: parent of a node's agent, and the one that leaves nothing behind when the agent is gone.

It adopts every orphan the agent's processes leave (setsid and double forks included), and does nothing
else while the agent lives. However the agent ends, everything it started is killed before the keeper
ends; the end of the keeper's standard output tells the coordinator so.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

from . import processes, scratch
from .cgroups import NodeGroup
from .giving import pass_on, take_config
from .tag import TAG

_TO_BE_WARM = b'{"warm":'
"""How the line begins with which the warm pool has an agent import before there is a node for it (`warm.py`)."""
_KILL_LIMIT = 10.0
"""Seconds after which processes that cannot be killed (stuck in the kernel) are left, and named."""


def main() -> None:
    """Run a node: start the agent, read the node's configuration from standard input, keep the agent."""
    processes.become_subreaper("regiment-keeper")
    # Terminal signals are the coordinator's business; whoever wants the node to end tells its agent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Until the agent can take them; it passes them on.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    lifeline_read, lifeline_write = os.pipe()
    agents, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    keeper = os.getpid()
    group = NodeGroup(os.environ[TAG])
    agent = os.fork()
    if agent == 0:
        os.close(lifeline_write)
        ours.close()
        _become_agent(agents, keeper, lifeline_read, group)
    os.close(lifeline_read)
    agents.close()
    giver = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, lambda _, __: _end_with(agent))
    line = take_config(giver)
    with ours:
        while line.startswith(_TO_BE_WARM):
            pass_on(line, ours)
            line = take_config(giver)
        if line:
            pass_on(line, ours)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not line:
        _wait_for(agent)  # There is to be no node, as the agent sees too.
        return
    config = json.loads(line)
    # Meanwhile the agent starts up: the kernel takes some 10 ms for this.
    group.make(agent)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        _forward(number, agent)
    _wait_for(agent)
    group.kill()
    left = processes.kill_all(config["tag"], keeper, (), _KILL_LIMIT)
    if left:
        print(f"could not kill {left} on {config['nodeId']}: they are stuck in the kernel", file=sys.stderr)
    processes.reap_orphans()  # What was dead already; else it would be seen a moment longer than this node.
    group.remove()
    _tidy(config["socket"])


def _end_with(agent: int) -> None:
    """End if the agent has, which has started nothing yet; whoever waits for a keeper with an agent takes another."""
    if os.waitpid(agent, os.WNOHANG)[0] == agent:
        os._exit(1)


def _become_agent(giver: socket.socket, keeper: int, lifeline: int, group: NodeGroup) -> None:
    status = 70
    try:
        from .agent import run_agent

        with giver:
            config, warm = take_config(giver), None
            if config.startswith(_TO_BE_WARM):
                from .warm import be_warm

                config, warm = be_warm(config, giver)
        status = run_agent(json.loads(config), keeper, lifeline, group, warm) if config else 0
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
    scratch.remove_socket_if_dead(f"{folder}/coordinator.sock")


def _try(remove: Callable[[str], None], path: str) -> None:
    try:
        remove(path)
    except OSError:
        pass  # It is gone already, or others still use it.
