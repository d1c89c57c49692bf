"""The coordinator's end of the connection to a node's relay (`join/relay.py`), whatever carries it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

from regiment.jobs.errors import ProtocolError

from ..node import joining, lease
from ..node.channel import LineChannel, Stream, decode
from ..node.config import NodeConfig
from ..node.loop import Loop
from .backend import AgentChannel, Ready, Share

_FILLING, _FILLED = "." * 2000, 5
"""What makes a beat too long for one packet, and which beats: a way on which only small ones get through is broken, and
is found so before something large is to be said, the end of the run at the latest."""
UNKNOWN = Share(cpus=(), gpus=None)
"""What is known of a machine before its node is there."""


@lru_cache
def _beat(filling: str, heard: int) -> bytes:
    """Give a beat's line; with thousands of nodes at the same point of the run most of their beats are the same."""
    return joining.enveloped(joining.Beat(filling=filling, heard=heard))


class WantedNode:
    """A node of the run, from when it is wanted on."""

    keeper: int | None = None
    link: Link | None = None
    """The connection that it has been begun over."""

    def __init__(
        self,
        config: NodeConfig,
        on_ready: Callable[[Ready], None],
        on_lost: Callable[[str], None],
        on_gone: Callable[[], None],
        give_up: Callable[[Any], None],
    ) -> None:
        """`give_up` is told of the node itself when nobody wants it any more."""
        self.config = config
        self.on_ready = on_ready
        self.on_lost = on_lost
        self.on_gone = on_gone
        self._give_up = give_up

    @property
    def ends_by(self) -> float | None:
        """When all that it runs has ended by itself, where nobody can see to that; None where it runs nothing."""
        return None if self.link is None else self.link.ends_by

    def fence(self, others: frozenset[int]) -> list[int]:
        """Have the node kill what it runs; one that cannot be reached does so by itself when its lease is over."""
        self._give_up(self)
        return []


class Owner(Protocol):
    """Whoever has the links to all nodes."""

    def joins(self, link: Link, join: joining.Join, /) -> None:
        """Take a node that has said who it is, or tell it why not."""

    def left(self, link: Link, /) -> None:
        """Take down that a node's connection is over."""

    def is_free(self, link: Link, /) -> None:
        """Use a node again that has cleaned up."""


class Link:
    """A connection that is known to lead to a node's relay, and through it to the agent proper."""

    def __init__(self, owner: Owner, rank: int, peer: str, loop: Loop, stream: Stream) -> None:
        self.rank = rank
        self.peer = peer
        self.host = "?"
        self.share = UNKNOWN
        self.is_free = False
        self._beats = 0
        self._lines = 0
        """How many have come."""
        self._heard_at = time.monotonic()
        """When the last of them did."""
        self._owner = owner
        self._node: WantedNode | None = None
        self._agent: _Agent | None = None
        self.channel = LineChannel(loop, stream, self._take, self._left)

    @property
    def ends_by(self) -> float:
        """When all that it runs has ended by itself, if nothing more comes from it."""
        return self._heard_at + lease.OVER

    def beat(self) -> None:
        """Say that we are there, and what has come: the node's lease is counted from that."""
        self._beats += 1
        filling = _FILLING if self._beats % _FILLED == 0 else ""
        self.channel.send_line(_beat(filling, self._lines))

    def tell(self, message: joining.ToNode) -> None:
        """Say something to the relay itself."""
        self.channel.send_line(joining.enveloped(message))

    def keep(self, node: WantedNode) -> None:
        """Have it start a node's keeper and agent."""
        self.is_free = False
        self._node, node.link = node, self
        self.tell(joining.Keep(node.config))

    def forget_node(self) -> WantedNode | None:
        """Give the node that it has started, of which it says nothing any more."""
        node, self._node, self._agent = self._node, None, None
        return node

    def fence(self) -> None:
        """Have it end that node, of which nobody wants to hear any more."""
        self._agent = None
        self.tell(joining.Fence())

    def _take(self, line: bytes) -> None:
        self._lines += 1
        self._heard_at = time.monotonic()
        try:
            inside = joining.opened(line)
            if inside is None:
                self._pass_on(line)
            else:
                self._hear(joining.understood(joining.FromNode, inside))
        except ProtocolError as error:
            self.channel.close()
            self._lose(f"cannot be understood: {error}")

    def _pass_on(self, line: bytes) -> None:
        message = decode(line)
        if message is None:
            raise ProtocolError("a peer sent a line that is no message")
        if self._agent is not None:
            self._agent.on_message(message)

    def _hear(self, message: joining.FromNode) -> None:
        node = self._node
        match message:
            case joining.Join():
                self.host = message.host
                self.share = Share(message.cpus, message.gpus, python=message.python)
                self._owner.joins(self, message)
            case joining.AgentReady(pid, keeper_pid, path) if node is not None:
                node.on_ready(Ready(pid, keeper_pid, path, self._connect))
            case joining.AgentHungUp():
                agent, self._agent = self._agent, None
                if agent is not None:
                    agent.on_close()
            case joining.NodeClean() if node is not None:
                self._node, self.is_free = None, True
                node.on_gone()
                self._owner.is_free(self)

    def _connect(self, on_message: Callable[[dict[str, Any]], None], on_close: Callable[[], None]) -> AgentChannel:
        self._agent = _Agent(self, on_message, on_close)
        return self._agent

    def hang_up(self, agent: _Agent) -> None:
        """Pass nothing on to it any more."""
        if self._agent is agent:
            self._agent = None

    def _left(self) -> None:
        self._lose("was lost: its connection is broken")

    def _lose(self, reason: str) -> None:
        self._owner.left(self)
        self._agent = None
        if self._node is not None:
            node, self._node = self._node, None
            node.on_lost(reason)


class _Agent:
    """The agent at the other end of a link."""

    def __init__(self, link: Link, on_message: Callable[[dict[str, Any]], None], on_close: Callable[[], None]) -> None:
        self._link = link
        self.on_message = on_message
        self.on_close = on_close

    def send_line(self, data: bytes, /) -> None:
        """Send a message that is encoded already."""
        self._link.channel.send_line(data)

    def close(self) -> None:
        """Hang up."""
        self._link.hang_up(self)
