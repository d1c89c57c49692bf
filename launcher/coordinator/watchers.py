"""Those who look on: the viewer the run belongs to, and any number of others from other shells."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from regiment.jobs.errors import ProtocolError

from ..node import messages
from ..node.channel import Channel, accept, listen
from ..node.loop import Loop
from .recorder import Recorder

Wish = (
    messages.StopRun
    | messages.QueuedAgain
    | messages.Requeued
    | messages.Noticed
    | messages.LookAtRequests
    | messages.Rejoin
    | messages.TerminalLog
)
"""What somebody who looks on may want."""
_PATIENCE = 256 * 1024
"""Bytes that may wait for one watcher before it is told no more of growing logs."""


class Watchers:
    """Tells everybody what happens, and takes their wishes."""

    def __init__(
        self,
        loop: Loop,
        owner: socket.socket,
        recorder: Recorder,
        on_wish: Callable[[Wish], None],
        on_owner_gone: Callable[[], None],
    ) -> None:
        """`owner` is the connection to whoever started the coordinator."""
        self._loop = loop
        self._recorder = recorder
        self._on_wish = on_wish
        self._on_owner_gone = on_owner_gone
        self._watching: list[Channel] = []
        self._log_sizes: dict[int, int] = {}
        self._owner = Channel(loop, owner, lambda data: self._hear(self._owner, data), self._owner_left)

    def listen(self, path: str) -> None:
        """Let others connect."""
        listener = listen(path)
        self._loop.on_read(listener.fileno(), lambda: self._accept(listener))

    def accept_owner(self) -> None:
        """Tell the owner that the run is taken up, and from then on all that happens."""
        self._owner.send({"event": "accepted"})
        self._start(self._owner)

    def tell(self, line: bytes) -> None:
        """Tell everybody of an event, which is encoded already."""
        for channel in self._watching:
            channel.send_line(line)

    def log_grew(self, rank: int, size: int) -> None:
        """Tell everybody that a log has at least this many bytes."""
        self._recorder.log.flush()  # That its process has started comes before.
        self._log_sizes[rank] = size
        for channel in self._watching:
            # One that has stopped reading finds all of a log when it goes on; only events are kept for it.
            if channel.waiting < _PATIENCE:
                channel.send({"event": "log", "rank": rank, "size": size})

    def forget_logs(self) -> None:
        """Forget the logs of an attempt that is over; the next one's begin anew."""
        self._log_sizes.clear()

    def flush(self) -> None:
        """Wait until the last words are out."""
        self._recorder.log.flush()
        for channel in self._watching:
            channel.flush()

    def _accept(self, listener: socket.socket) -> None:
        connection = accept(listener)
        if connection is not None:
            _Onlooker(self._loop, connection, self._hear, self._left)

    def _hear(self, channel: Channel, data: dict[str, Any]) -> None:
        try:
            message = messages.unpack(messages.FromViewer, data)
        except ProtocolError as error:
            channel.send({"event": "refused", "reason": str(error)})
            return
        if isinstance(message, messages.Watch):
            self._start(channel)
        else:
            self._on_wish(message)

    def _start(self, channel: Channel) -> None:
        self._recorder.log.flush()
        for line in self._recorder.log.lines:
            channel.send_line(line)
        for rank, size in self._log_sizes.items():
            channel.send({"event": "log", "rank": rank, "size": size})
        self._watching.append(channel)

    def _left(self, channel: Channel) -> None:
        if channel in self._watching:
            self._watching.remove(channel)

    def _owner_left(self) -> None:
        self._left(self._owner)
        self._on_owner_gone()


class _Onlooker:
    """A connection whose callbacks know it."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        hear: Callable[[Channel, dict[str, Any]], None],
        left: Callable[[Channel], None],
    ) -> None:
        self._channel = Channel(loop, connection, lambda data: hear(self._channel, data), lambda: left(self._channel))
