"""Nodes that are machines reached over ssh, as the coordinator sees them."""

from __future__ import annotations

import time
from collections.abc import Callable

from regiment.jobs.words import counted

from ..backends.backend import Ready, Share, StartedNode
from ..backends.keepers import FirstKeeper
from ..backends.link import UNKNOWN, Link, WantedNode
from ..coordinator.hosts import AT_ONCE, Hosts
from ..node import joining, lease
from ..node.config import NodeConfig
from ..node.loop import Loop
from .command import Payload, payload
from .reach import Reach

_LOOK = 0.5
"""Seconds between two looks at what takes too long."""
_ABSENCE = 2.0
"""Seconds without a look after which we take it that we were stopped ourselves, and no host was."""
_FIRST_NOTE, _NOTE_INTERVAL = 5.0, 15.0
"""Seconds of waiting after which a person is told of it, and between two such notes."""
_NAMED = 4
"""Hosts that are named one by one where some are missing."""
_GOODBYE_LIMIT = 2.0
"""Seconds that the nodes have, all together, to hear of the end of the run."""


class SshNodes:
    """Gets agents onto hosts, and holds the connections to them."""

    hidden: tuple[str, ...] = ()

    def __init__(self, first: FirstKeeper, hosts: Hosts, zip_path: str) -> None:
        first.keeper.forget()  # No node is this machine.
        self.token = first.token
        self.may_be_apart = True
        self._hosts = hosts
        self._zip = zip_path
        self._payload: Payload | None = None
        self._reaches: dict[int, Reach] = {}
        self._queue: list[Reach] = []
        """Those that wait for their first call."""
        self._wanted: dict[int, WantedNode] = {}
        """Nodes that are not here yet."""
        self._then: Callable[[], None] | None = None
        self._is_ending = False

    def open(self, loop: Loop, note: Callable[[str], None], on_return: Callable[[], None]) -> None:
        """Begin to look at what takes too long."""
        self._loop = loop
        self._note = note
        self._noted_at = time.monotonic() + _FIRST_NOTE - _NOTE_INTERVAL
        self._looked_at = time.monotonic()
        self._beat()
        self._look()

    def share(self, index: int) -> Share:
        """Give what a node has of its machine: all, once it is known."""
        reach = self._reaches.get(index)
        return UNKNOWN if reach is None or reach.link is None else reach.link.share

    def start(
        self,
        loop: Loop,
        config: NodeConfig,
        on_ready: Callable[[Ready], None],
        on_lost: Callable[[str], None],
        on_gone: Callable[[], None],
    ) -> StartedNode:
        """Start a node's agent, on a host that is called for it where there is no connection any more."""
        node = WantedNode(config, on_ready, on_lost, on_gone, self.give_up)
        reach = self._reaches.get(config.node)
        self._wanted[config.node] = node
        if reach is not None and reach.link is not None:
            if reach.link.is_free:
                self._begin(reach.link)
            return node
        self._call(config.node)
        return node

    def end(self, exit_status: int, text: str, then: Callable[[], None]) -> None:
        """Tell every node how the run has ended, and leave no call behind."""
        self._is_ending, self._then, self._queue = True, then, []
        line = joining.enveloped(joining.RunEnded(exit_status, text))
        for reach in tuple(self._reaches.values()):
            if reach.link is None or reach.lingers:
                reach.close()
                del self._reaches[reach.rank]
            else:
                # Each hangs up when it has read that; to hang up first might take the words away before.
                reach.link.channel.send_line(line)
        self._loop.call_later(_GOODBYE_LIMIT, self._all_have_left)
        self._count_those_left()

    def _count_those_left(self) -> None:
        if self._is_ending and not self._reaches:
            self._all_have_left()

    def _all_have_left(self) -> None:
        then, self._then = self._then, None
        for reach in self._reaches.values():
            reach.close()
        if then is not None:
            then()

    # --- calls --------------------------------------------------------------------------------------

    def _call(self, index: int) -> None:
        self._payload = self._payload or payload(self._zip)
        host = self._hosts.names[index]
        reach = Reach(self, self._loop, index, host, self._hosts.python, self._payload, self._hosts.limit, self._failed)
        self._reaches[index] = reach
        self._queue.append(reach)
        self._call_more()

    def _call_more(self) -> None:
        going = sum(reach.is_dialling for reach in self._reaches.values()) - len(self._queue)
        while self._queue and going < AT_ONCE:
            self._queue.pop(0).begin()
            going += 1

    def _failed(self, reach: Reach, reason: str) -> None:
        if self._reaches.get(reach.rank) is reach:
            del self._reaches[reach.rank]
        if reach.lingers and reach.rank in self._wanted:
            self._call(reach.rank)  # What was lost there has ended.
            return
        node = self._wanted.pop(reach.rank, None)
        if reach.link is not None:
            node = node or reach.link.forget_node()
        self._call_more()
        self._count_those_left()
        if node is not None and not self._is_ending:
            node.on_lost(reason)

    def is_broken(self, reach: Reach) -> None:
        """Take down that a host's connection has ended; at the end of the run all do."""
        if self._is_ending:
            reach.close()
            self._reaches.pop(reach.rank, None)
            self._count_those_left()

    def give_up(self, node: WantedNode) -> None:
        """End a node; a host that does not answer is called until that has happened by itself."""
        index = node.config.node
        if self._wanted.get(index) is node:
            del self._wanted[index]
        reach = self._reaches.get(index)
        if reach is None:
            return
        if reach.link is not None:
            reach.link.fence()
            if not reach.works:
                reach.linger(reach.link.ends_by)
            return
        if reach in self._queue:
            self._queue.remove(reach)
        reach.close()
        del self._reaches[index]

    # --- links --------------------------------------------------------------------------------------

    def joins(self, link: Link, join: joining.Join) -> None:
        """Take a node that is there."""
        if link.rank in self._wanted:
            self._begin(link)
        else:
            link.is_free = True
        self._call_more()

    def _begin(self, link: Link) -> None:
        link.keep(self._wanted.pop(link.rank))

    def left(self, link: Link) -> None:
        """Take down that a node's stream is over."""
        reach = self._reaches.get(link.rank)
        if reach is not None and reach.link is link:
            del self._reaches[link.rank]
            reach.close()

    def is_free(self, link: Link) -> None:
        """Use a node again that has cleaned up."""
        if link.rank in self._wanted:
            self._begin(link)

    # --- waiting ------------------------------------------------------------------------------------

    def _beat(self) -> None:
        for reach in self._reaches.values():
            if reach.link is not None:
                reach.link.beat()
        self._loop.call_later(lease.BEAT, self._beat)

    def _look(self) -> None:
        now = time.monotonic()
        was_absent, self._looked_at = now - self._looked_at > _ABSENCE, now
        for reach in tuple(self._reaches.values()):
            if was_absent:
                reach.count_anew()  # What the host has said meanwhile is still to be read.
            elif reach not in self._queue:
                reach.look()
        waiting = [reach for reach in self._reaches.values() if reach.is_dialling]
        if waiting and not self._is_ending and now - self._noted_at >= _NOTE_INTERVAL:
            self._noted_at = now
            self._note(self._waiting_text(waiting))
        self._loop.call_later(_LOOK, self._look)

    def _waiting_text(self, waiting: list[Reach]) -> str:
        up = len(self._reaches) - len(waiting)
        called = [reach for reach in waiting if reach not in self._queue]
        named = ", ".join(reach.waits_for for reach in called[:_NAMED])
        more = f" and {counted(len(waiting) - _NAMED, 'more host')}" if len(waiting) > _NAMED else ""
        return f"{up}/{len(self._hosts.names)} up, waiting: {named}{more}"
