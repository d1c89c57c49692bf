"""A stream of bytes that outlives the connections that carry it: what a broken one has lost goes over the next.

Both ends count what they have got. A new connection begins with these numbers, so that each end sends what the other
lacks, once; over the first one, before which nothing can have come, neither waits for the other's. Whoever uses the
stream has one end of a socket pair, and knows nothing of connections.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

from ..node.loop import Loop

WINDOW = 4 * 1024 * 1024
"""Bytes that are kept until the other end has them; what is written beyond waits in the user's own socket."""
_PIECE = 256 * 1024
_HEAD = struct.Struct(">cQ")
_RESUME, _TAKEN, _DATA = b"R", b"T", b"D"
"""What a head announces: how much has come before this connection, how much has come by now, so many bytes of data."""


class Cable:
    """One end of such a stream."""

    def __init__(self, loop: Loop, on_broken: Callable[[], None], on_closed: Callable[[], None] | None = None) -> None:
        """`on_broken` hears that a connection has ended, `on_closed` that whoever has `end` has closed it."""
        self._loop = loop
        self._on_broken = on_broken
        self._on_closed = on_closed
        self.end, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        """What the user of the stream reads and writes."""
        self._ours.setblocking(False)
        self._to_user = bytearray()
        self._received = 0
        """Bytes that have come from the other end."""
        self._kept = bytearray()
        """Bytes from the user that the other end has not said to have, beginning with number `_base`."""
        self._base = 0
        self._sent = 0
        """Number of the next byte that this connection carries."""
        self._connection: _Connection | None = None
        self._is_new = True
        """Whether there has been no connection yet."""
        self._closed = False
        self._waits_since: float | None = None
        self._listen_to_user()

    @property
    def is_connected(self) -> bool:
        """Say whether there is a connection, which may be a dead one."""
        return self._connection is not None

    @property
    def stalled(self) -> float:
        """Give for how many seconds the other end has not said that it has something more."""
        return 0.0 if self._waits_since is None else time.monotonic() - self._waits_since

    def count_anew(self) -> None:
        """Count the seconds in which nothing more has come from now on."""
        if self._waits_since is not None:
            self._waits_since = time.monotonic()

    def attach(self, connection: socket.socket) -> None:
        """Go on over this connection, and over none that was there before."""
        if self._connection is not None:
            self._connection.close()
        self._connection = _Connection(self._loop, connection, self, self._is_new)
        self._is_new = False
        self._connection.send(_HEAD.pack(_RESUME, self._received))
        self._send_more()

    def detach(self) -> None:
        """Give up the connection, as one that nothing comes over any more."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """End the stream: its user finds it at its end."""
        if not self._closed:
            self._closed = True
            self.detach()
            self._loop.on_read(self._ours.fileno(), None)
            self._loop.on_write(self._ours.fileno(), None)
            self._ours.close()

    # --- the user's side ----------------------------------------------------------------------------

    def _listen_to_user(self) -> None:
        self._loop.on_read(self._ours.fileno(), self._from_user)

    def _from_user(self) -> None:
        try:
            data = self._ours.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            if self._on_closed is not None:
                self._on_closed()
            return
        if not self._kept:
            self._waits_since = time.monotonic()
        self._kept += data
        if len(self._kept) >= WINDOW:
            self._loop.on_read(self._ours.fileno(), None)
        self._send_more()

    def _give_user(self) -> None:
        try:
            while self._to_user:
                del self._to_user[: self._ours.send(self._to_user)]
        except BlockingIOError:
            self._loop.on_write(self._ours.fileno(), self._give_user)
            return
        except OSError:
            self._to_user.clear()  # It has hung up, as its reader is about to find out.
        self._loop.on_write(self._ours.fileno(), None)

    # --- the other end's ----------------------------------------------------------------------------

    def _send_more(self) -> None:
        connection = self._connection
        if connection is None or not connection.may_send:
            return
        begin = self._sent - self._base
        while begin < len(self._kept):
            piece = self._kept[begin : begin + _PIECE]
            connection.send(_HEAD.pack(_DATA, len(piece)) + piece)
            begin += len(piece)
        self._sent = self._base + begin

    def resumed(self, number: int) -> None:
        """Hear where the other end is when a connection begins that is not the first."""
        self.taken(number)
        self._sent = self._base
        self._send_more()

    def taken(self, number: int) -> None:
        """Hear that the other end has all before that byte, so that nobody needs it any more."""
        if not self._base <= number <= self._base + len(self._kept):
            self.detach()  # It is another stream's other end.
            self._on_broken()
            return
        if number > self._base:
            was_full = len(self._kept) >= WINDOW
            del self._kept[: number - self._base]
            self._base = number
            self._waits_since = time.monotonic()
            if was_full and len(self._kept) < WINDOW:
                self._listen_to_user()
        if not self._kept:
            self._waits_since = None

    def came(self, data: bytes) -> None:
        """Take what the other end's user has said."""
        self._received += len(data)
        self._to_user += data
        self._give_user()

    def said_received(self) -> bytes:
        """Give the words that say how much has come."""
        return _HEAD.pack(_TAKEN, self._received)

    def broken(self, connection: _Connection) -> None:
        """Take down that a connection has ended."""
        if connection is self._connection:
            self._connection = None
            self._on_broken()


class _Connection:
    """One of those that carry a cable, one after the other."""

    def __init__(self, loop: Loop, connection: socket.socket, cable: Cable, is_first: bool) -> None:
        connection.setblocking(False)
        self._loop = loop
        self._socket = connection
        self._cable = cable
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._left = 0
        """Bytes of data that are still to come of the announced ones."""
        self._is_resumed = False
        """Whether the other end has said where it is."""
        self.may_send = is_first
        """Whether it is known where the other end is."""
        self._closed = False
        loop.on_read(connection.fileno(), self._read)

    def send(self, data: bytes | bytearray) -> None:
        """Send, now or as soon as it can be taken."""
        if not self._closed:
            self._outgoing += data
            self._write()

    def close(self) -> None:
        """End it, without a word to anybody."""
        if not self._closed:
            self._closed = True
            self._loop.on_read(self._socket.fileno(), None)
            self._loop.on_write(self._socket.fileno(), None)
            self._socket.close()

    def _write(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self._socket.send(self._outgoing)]
        except BlockingIOError:
            self._loop.on_write(self._socket.fileno(), self._write)
            return
        except OSError:
            self._outgoing.clear()  # The reader finds the end as well, and says so from the loop.
        self._loop.on_write(self._socket.fileno(), None)

    def _read(self) -> None:
        try:
            data = self._socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._incoming += data
        had_data = self._take()
        if had_data:
            self.send(self._cable.said_received())

    def _end(self) -> None:
        if not self._closed:
            self.close()
            self._cable.broken(self)

    def _take(self) -> bool:
        """Take what has come; gives whether there was something for the user."""
        had_data = False
        while self._incoming and not self._closed:
            if self._left:
                piece = bytes(self._incoming[: self._left])
                del self._incoming[: len(piece)]
                self._left -= len(piece)
                had_data = True
                self._cable.came(piece)
            elif len(self._incoming) < _HEAD.size:
                break
            else:
                kind, number = _HEAD.unpack_from(self._incoming)
                del self._incoming[: _HEAD.size]
                self._hear(kind, number)
        return had_data

    def _hear(self, kind: bytes, number: int) -> None:
        if kind == _RESUME and not self._is_resumed:
            self._is_resumed = True
            if self.may_send:
                self._cable.taken(number)
            else:
                self.may_send = True
                self._cable.resumed(number)
        elif kind == _TAKEN and self._is_resumed:
            self._cable.taken(number)
        elif kind == _DATA and self._is_resumed and number <= _PIECE:
            self._left = number
        else:
            self._end()
