"""`regiment agent` on a node other than 0: its node's keeper and agent, and their connection to the coordinator.

It holds the connection over the network and the agent's own, and passes lines between them as they are. It ends
what the node runs when the coordinator is gone, and ends itself as the run does.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import regiment
from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus, ProtocolError

from ..backends.backend import Ready
from ..backends.keepers import Keeper, KeeperProcess
from ..backends.local import LocalNode, hidden_folders
from ..backends.machine import visible_gpus
from ..node import joining, messages, processes, scratch
from ..node.cgroups import NodeGroup
from ..node.channel import LineChannel, Stream, encode
from ..node.config import NodeConfig
from ..node.lease import KILLING, LAST_GRACE, LEASE, SILENCE, Lease
from ..node.limits import raise_limits
from ..node.loop import Loop
from ..node.tag import earlier_tags, tag_of
from .stopgrace import LAST_WORDS, rank_grace

_EARLIER_LIMIT, _LOOK = 10.0, 0.1
"""Seconds that an earlier life of the node has to end by itself, and between two looks whether it has."""
_KILL_LIMIT = 3.0
"""Seconds in which what an earlier life of the node has left must be dead."""
_CLEAN_LIMIT = 15.0
"""Seconds that a node whose coordinator is gone has to end by itself."""


class Relay:
    """One node, for one run."""

    def __init__(
        self,
        coordinator: str,
        stream: Stream,
        address: str,
        zip_path: Path,
        stop_grace: float | None,
        say: Callable[[str], None],
        loop: Loop | None = None,
    ) -> None:
        """Be one that was let in; `zip_path` is the packed agent.

        `coordinator` is what people call the one at the other end of the stream, `address` the node's own. `loop` is
        the one that the stream needs, where it needs one.
        `stop_grace` is how long its container has from SIGTERM to SIGKILL; None where SIGTERM is no such word, for
        whoever sends it tells node 0 as well.
        """
        self._stop_grace = stop_grace
        self._coordinators_name = coordinator
        self._address = address
        self._zip = zip_path
        self._sockets: str | None = None
        self._say = say
        self._loop = loop = loop or Loop()
        self._coordinator = LineChannel(loop, stream, self._from_coordinator, self._lost)
        self._lease = Lease(loop, lambda: self._tell(joining.Alive()), self._lease_over)
        self._node: LocalNode | None = None
        self._agent: LineChannel | None = None
        self._agent_pid: int | None = None
        self._status: int | None = None
        self._signals = 0

    def run(self) -> int:
        """Be a node of the run until that has ended; gives its exit status."""
        # What a node leaves whose agent and keeper are both killed becomes our child, and is found and ended.
        processes.become_subreaper("regiment-node")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._loop.on_signal(number, self._told_to_end(number))
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            self._loop.on_signal(number, self._passed_on(number))
        self._loop.on_signal(signal.SIGCHLD, processes.reap_orphans)
        self._tell(self._join())
        self._loop.run()
        return int(ExitStatus.NODE_ERROR) if self._status is None else self._status

    @property
    def has_heard_the_end(self) -> bool:
        """Say whether it ended because it was told to, and not because nothing came any more."""
        return self._status is not None

    def _join(self) -> joining.Join:
        return joining.Join(
            protocol=joining.PROTOCOL,
            version=regiment.__version__,
            host=socket.gethostname(),
            address=self._address,
            python=sys.executable,
            cpus=tuple(sorted(os.sched_getaffinity(0))),
            gpus=visible_gpus() or None,
        )

    def _tell(self, message: joining.FromNode) -> None:
        self._to_coordinator(joining.enveloped(message))

    def _to_coordinator(self, line: bytes) -> None:
        self._lease.sends()
        self._coordinator.send_line(line)

    # --- what the coordinator says ------------------------------------------------------------------

    def _from_coordinator(self, line: bytes) -> None:
        try:
            inside = joining.opened(line)
            if inside is None:
                if self._agent is not None:
                    self._agent.send_line(line + b"\n")
                return
            self._hear(joining.understood(joining.ToNode, inside))
        except ProtocolError as error:
            self._say(str(error))
            self._coordinator.close()
            self._lost()

    def _hear(self, message: joining.ToNode) -> None:
        match message:
            case joining.Beat(text, heard=heard):
                self._lease.heard(heard)
                if text is not None:
                    self._say(text)
            case joining.Keep(config):
                self._keep(config, time.monotonic() + _EARLIER_LIMIT)
            case joining.Fence():
                self._end_node()
                if self._signals:
                    self._end(128 + signal.SIGTERM)  # The others go on, and here nothing is left to do.
            case joining.Refused(reason):
                self._say(f"this node cannot join: {reason}")
                self._end(ExitStatus.USER_ERROR)
            case joining.RunEnded(exit_status, text):
                self._say(text)
                self._end(exit_status)

    def _keep(self, config: NodeConfig, kill_at: float) -> None:
        """Start the node, once nothing of an earlier life of it is left; by `kill_at` that is killed."""
        earlier = earlier_tags(config.tag)
        if time.monotonic() < kill_at and any(processes.living_of_run(tag, None, ()) for tag in earlier):
            # It was lost for the end of its `regiment agent` only, and still saves and tidies what it has.
            self._loop.call_later(_LOOK, lambda: self._keep(config, kill_at))
            return
        for tag in earlier:
            NodeGroup(tag).kill()
            processes.kill_all(tag, None, (), _KILL_LIMIT)
        # Of this life alone: whoever uses such a folder last takes it away.
        self._sockets = scratch.socket_folder()
        config = replace(
            config,
            socket=f"{self._sockets}/{config.node_id}.sock",
            address=self._address,
            cpus=(),
            # It is here that the coordinator is waited for; whoever has given it up does not call the agent again.
            lease=0.0,
            silence=SILENCE,
            last_grace=LAST_GRACE,
            zip=str(self._zip),
            python=sys.executable,
            sharing=config.sharing and replace(config.sharing, hidden=hidden_folders()),
        )
        keeper, config = self._keeper(config)
        self._node = LocalNode(self._loop, config, self._agent_ready, self._agent_gone, keeper)

    def _keeper(self, config: NodeConfig) -> tuple[Keeper, NodeConfig]:
        """Start the node's keeper, or take one whose agent has imported already what is to be forked."""
        if config.warm_modules is not None:
            from ..backends.warm import NoPool, take

            raise_limits()
            try:
                warm, token = take(config.python, config.warm_modules, config.zip)
                return warm, replace(config, tag=tag_of(token, 0, 0))
            except NoPool as error:
                if str(error):
                    self._say(f"the warm pool is of no use here: {error}")
        return KeeperProcess(config.python, config.zip, config.tag), config

    def _end(self, status: int) -> None:
        """End as the run has; what the node may still run nobody wants any more."""
        self._status = int(status)
        self._coordinator.close()
        self._lease.end()
        self._end_node()
        self._loop.stop()

    def _end_node(self) -> None:
        if self._node is not None:
            self._node.fence(frozenset())
        if self._sockets is not None:
            scratch.remove_shared_memory(self._sockets)
            scratch.remove(self._sockets)
            self._sockets = None

    # --- the node -----------------------------------------------------------------------------------

    def _agent_ready(self, ready: Ready) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(ready.socket)
        except OSError:
            connection.close()
            return  # It has just died, as the end of its keeper will say.
        self._agent = LineChannel(self._loop, connection, self._from_agent, self._agent_hung_up)
        self._agent_pid = ready.pid
        self._tell(joining.AgentReady(ready.pid, ready.keeper_pid, ready.socket))

    def _from_agent(self, line: bytes) -> None:
        self._to_coordinator(line + b"\n")

    def _agent_hung_up(self) -> None:
        self._agent = None
        self._tell(joining.AgentHungUp())

    def _agent_gone(self) -> None:
        """Say that the node is clean, when it is: keeper and agent may both have been killed."""
        self._end_node()
        self._node = None
        if self._agent is not None:
            self._agent.close()
            self._agent = None
        self._tell(joining.NodeClean())
        if self._coordinator.closed:
            self._loop.stop()

    # --- the end ------------------------------------------------------------------------------------

    def _lease_over(self) -> None:
        self._coordinator.close()
        self._lost(f"has not heard of this node for {LEASE:g} s, as far as is known here")

    def _lost(self, how: str = "has hung up") -> None:
        """End what the node runs, by letting its agent find that nobody speaks to it any more."""
        self._lease.end()
        self._say(f"{self._coordinators_name} {how}; this node ends what it runs")
        if self._node is None:
            self._loop.stop()
            return
        if self._agent is not None:
            self._agent.close()
            self._agent = None
        self._loop.call_later(LAST_GRACE + KILLING / 2, self._end_if_stopped)
        self._loop.call_later(_CLEAN_LIMIT, self._end_node)

    def _end_if_stopped(self) -> None:
        """End the node for an agent that cannot do so; one that can may still save what the job wrote."""
        if self._agent_pid is not None and processes.is_stopped(self._agent_pid):
            self._end_node()

    def _told_to_end(self, number: signal.Signals) -> Callable[[], None]:
        def handle() -> None:
            self._signals += 1
            if self._node is None or self._signals > 1:
                self._say(f"ended by {number.name}")
                self._end(128 + number)
                return
            if self._stop_grace is None:
                processes.send_signal(self._node.keeper, signal.SIGTERM)
                return
            # The node is being taken away: whatever runs on it has to be over by then, and the others hear why.
            self._from_agent(encode(messages.pack(messages.Noticed(number.name, rank_grace(self._stop_grace)))).strip())
            self._loop.call_later(max(0.0, self._stop_grace - LAST_WORDS), lambda: self._end(128 + number))

        return handle

    def _passed_on(self, number: signal.Signals) -> Callable[[], None]:
        def handle() -> None:
            if self._node is not None:
                processes.send_signal(self._node.keeper, number)

        return handle
