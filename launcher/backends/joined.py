"""Nodes that join over the network: something else has started `regiment agent` on each of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import regiment
from regiment.jobs.dataclass import replace

from ..coordinator.entrance import Arrival, Entrance
from ..coordinator.network import Network
from ..node import joining, lease
from ..node.config import NodeConfig
from ..node.loop import Loop
from .backend import Ready, Share, StartedNode
from .keepers import FirstKeeper
from .link import UNKNOWN, Link, WantedNode
from .local import LocalNodes

_GOODBYE_LIMIT = 2.0
"""Seconds that the nodes have, all together, to hear of the end of the run."""
_FIRST_NOTE, _NOTE_INTERVAL = 10.0, 60.0
"""Seconds of waiting after which node 0's person is told of it, and between two such notes."""
_TELL_INTERVAL = 0.25
"""Seconds between two words to all nodes of who is missing: with thousands that come at once, one for each of them
would be millions."""
_TELL_SHARE = 19
"""How many times as long as the last such word took it is to the next at least: they are told, and not kept waiting."""
_NAMED = 8
"""Ranks that are named one by one where some are missing."""


class JoinedNodes:
    """Lets nodes in, and waits for those that are still to come; node 0 is this machine."""

    hidden: tuple[str, ...] = ()

    def __init__(self, first: FirstKeeper, count: int, network: Network, listener: socket.socket) -> None:
        self.token = first.token
        self.may_be_apart = True
        self._own = LocalNodes(first, 1)
        self._count = count
        self._network = network
        self._listener = listener
        self._awaited: dict[int, _AwaitedNode] = {}
        """Nodes that are wanted and not here."""
        self._here: dict[int, Link] = {}
        self._links: set[Link] = set()
        self._then: Callable[[], None] | None = None
        self._is_to_be_told = False
        self._may_tell_at = 0.0

    def open(self, loop: Loop, note: Callable[[str], None], on_return: Callable[[], None]) -> None:
        """Let nodes in from now on."""
        self._on_return = on_return
        self._loop = loop
        self._note = note
        self._entrance = Entrance(loop, self._listener, self._network, self._arrived, note)
        self._opened_at = time.monotonic()
        self._noted_at = self._opened_at + _FIRST_NOTE - _NOTE_INTERVAL
        self._beat()

    def share(self, index: int) -> Share:
        """Give what a node has of its machine: all, once it is known."""
        if index == 0:
            return self._own.share(0)
        link = self._here.get(index)
        return UNKNOWN if link is None else link.share

    def start(
        self,
        loop: Loop,
        config: NodeConfig,
        on_ready: Callable[[Ready], None],
        on_lost: Callable[[str], None],
        on_gone: Callable[[], None],
    ) -> StartedNode:
        """Start a node's agent as soon as the node is there."""
        if config.node == 0:
            config = replace(config, address=self._network.address)
            return self._own.start(loop, config, on_ready, on_lost, on_gone)
        node = _AwaitedNode(config, on_ready, on_lost, on_gone, self._given_up)
        node.deadline = time.monotonic() + self._network.start_timeout
        self._awaited[config.node] = node
        link = self._here.get(config.node)
        if link is not None and link.is_free:
            self._begin(link)
        return node

    def end(self, exit_status: int, text: str, then: Callable[[], None]) -> None:
        """Let nobody in any more, and tell every node how the run has ended."""
        self._entrance.close()
        line = joining.enveloped(joining.RunEnded(exit_status, text))
        for link in tuple(self._links):
            link.channel.send_line(line)
        # Each hangs up when it has read that; to hang up first might take the words away before.
        self._then = then
        self._loop.call_later(_GOODBYE_LIMIT, self._all_have_left)
        self._count_those_left()

    def _count_those_left(self) -> None:
        if not self._links:
            self._all_have_left()

    def _all_have_left(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()

    # --- who comes ----------------------------------------------------------------------------------

    def _arrived(self, arrival: Arrival) -> None:
        self._links.add(Link(self, arrival.rank, arrival.peer, self._loop, arrival.stream))

    def joins(self, link: Link, join: joining.Join) -> None:
        """Take a node that has said who it is, or tell it why not."""
        reason = self._objection(link, join)
        if reason is not None:
            self._note(f"{join.host} ({link.peer}) was not taken as node {link.rank}: {reason}")
            link.tell(joining.Refused(reason))
            return
        self._here[link.rank] = link
        if link.rank in self._awaited:
            self._begin(link)
            if not self._is_to_be_told:
                self._is_to_be_told = True
                pause = max(_TELL_INTERVAL, self._may_tell_at - time.monotonic())
                self._loop.call_later(pause if self._awaited else 0.0, self._tell_who_is_missing)
            return
        # It was lost and is back: the run may want it for its next attempt, or among those that went on without it.
        link.is_free = True
        self._note(f"node-{link.rank} is back: {join.host} ({link.peer})")
        self._on_return()

    def _objection(self, link: Link, join: joining.Join) -> str | None:
        rank = link.rank
        if join.version != regiment.__version__:
            return f"it has Regiment {join.version}, and the coordinator {regiment.__version__}; use one on all nodes"
        if rank >= self._count:
            return f"there is no node rank {rank} in a run with {self._count} nodes; correct REGIMENT_NODE_RANK"
        if rank == 0:
            own = f"{socket.gethostname()} ({self._network.address})"
            return f"node rank 0 is {own}, where the coordinator runs; give each node a rank of its own"
        other = self._here.get(rank)
        if other is not None:
            return (
                f"node rank {rank} is taken: {other.host} ({other.peer}) has it, and {join.host} ({link.peer}) "
                "wants it too; give each node a REGIMENT_NODE_RANK of its own"
            )
        return None

    def _begin(self, link: Link) -> None:
        link.keep(self._awaited.pop(link.rank))

    def left(self, link: Link) -> None:
        """Take down that a node's connection is over."""
        self._links.discard(link)
        if self._here.get(link.rank) is link:
            del self._here[link.rank]
        self._count_those_left()

    def is_free(self, link: Link) -> None:
        """Use a node again that has cleaned up."""
        if link.rank in self._awaited and self._here.get(link.rank) is link:
            self._begin(link)

    def _given_up(self, node: _AwaitedNode) -> None:
        if self._awaited.get(node.config.node) is node:
            del self._awaited[node.config.node]
        if node.link is not None:
            node.link.fence()

    # --- waiting ------------------------------------------------------------------------------------

    def _beat(self) -> None:
        now = time.monotonic()
        for index, node in tuple(self._awaited.items()):
            if now >= node.deadline and self._awaited.get(index) is node:
                del self._awaited[index]
                node.on_lost(f"has not come within {self._network.start_timeout:g} s{_of_others(self._awaited)}")
        if self._awaited and now - self._noted_at >= _NOTE_INTERVAL:
            self._noted_at = now
            self._note(self._waiting_text())
        for link in tuple(self._links):
            link.beat()
        self._loop.call_later(lease.BEAT, self._beat)

    def _tell_who_is_missing(self) -> None:
        self._is_to_be_told = False
        began = time.monotonic()
        text = self._waiting_text() if self._awaited else f"all {self._count} nodes here"
        line = joining.enveloped(joining.Beat(text))
        for link in tuple(self._links):
            link.channel.send_line(line)
        now = time.monotonic()
        self._may_tell_at = now + _TELL_SHARE * (now - began)

    def _waiting_text(self) -> str:
        missing = sorted(self._awaited)
        left = max(0, round(min(node.deadline for node in self._awaited.values()) - time.monotonic()))
        here = self._count - len(missing)
        return f"{here} of {self._count} nodes here, waiting for {_ranks(missing)}, {left} s left"


class _AwaitedNode(WantedNode):
    """One that may still have to come."""

    deadline = 0.0
    """When it has to be there, by the monotonic clock."""


def _ranks(ranks: list[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    more = f" and {len(ranks) - _NAMED} more" if len(ranks) > _NAMED else ""
    return f"ranks {', '.join(map(str, ranks[:_NAMED]))}{more}"


def _of_others(missing: dict[int, _AwaitedNode]) -> str:
    return f"; nor has {_ranks(sorted(missing))}" if missing else ""
