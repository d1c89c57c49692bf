"""JSON messages, one a line, over a stream socket; nothing is ever unpickled."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol

from .loop import Loop

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes; a longer line ends the connection."""
_READ_SIZE = 256 * 1024
_COMPACT = json.JSONEncoder(separators=(",", ":"))


class Stream(Protocol):
    """What a channel needs of a socket; `BlockingIOError` where it would have to wait."""

    def fileno(self) -> int:
        """Give the descriptor to wait for."""

    def setblocking(self, flag: bool, /) -> None:
        """Wait, or never."""

    def settimeout(self, value: float | None, /) -> None:
        """Wait so many seconds."""

    def recv(self, size: int, /) -> bytes:
        """Give what has come; nothing at the end."""

    def send(self, data: bytes | bytearray, /) -> int:
        """Send what can be sent now; gives how much that was."""

    def sendall(self, data: bytes | bytearray, /) -> None:
        """Send all."""

    def close(self) -> None:
        """End the connection."""


class LineChannel:
    """One connection: calls back with each line, without its end, and once when it is over."""

    def __init__(
        self, loop: Loop, connection: Stream, on_line: Callable[[bytes], None], on_close: Callable[[], None]
    ) -> None:
        connection.setblocking(False)
        self._loop = loop
        self._socket = connection
        self._on_line = on_line
        self._on_close = on_close
        self._incoming = b""
        self._outgoing = bytearray()
        self.closed = False
        loop.on_read(connection.fileno(), self._read)

    @property
    def waiting(self) -> int:
        """Bytes that the other side has not taken yet."""
        return len(self._outgoing)

    def send_line(self, data: bytes, *, fds: tuple[int, ...] = ()) -> None:
        """Send a message that is encoded already, newline and all."""
        if self.closed:
            return
        if fds:
            # Files travel with the first bytes of their message, so nothing may be queued before it.
            assert not self._outgoing and isinstance(self._socket, socket.socket)
            sent = socket.send_fds(self._socket, [data], list(fds))
            data = data[sent:]
        sent = 0 if self._outgoing else self._send(data)
        if sent < len(data):
            self._outgoing += data[sent:]
            self._write()

    def close(self) -> None:
        """End the connection without calling back."""
        if not self.closed:
            self.closed = True
            self._loop.on_read(self._socket.fileno(), None)
            self._loop.on_write(self._socket.fileno(), None)
            self._socket.close()
            self._outgoing, self._incoming = bytearray(), b""  # Channels are cycles, and may stay for long.

    def flush(self) -> None:
        """Wait until what was sent is out; only for the last words before an end."""
        if not self.closed and self._outgoing:
            self._socket.settimeout(1.0)
            try:
                self._socket.sendall(self._outgoing)
            except OSError:
                pass  # The other side has gone; there is nobody left to tell.
            self._outgoing.clear()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        lines = (self._incoming + data).split(b"\n")
        self._incoming = lines.pop()
        if len(self._incoming) > MAX_MESSAGE:
            self._end()
            return
        for line in lines:
            if self.closed:
                return
            self._on_line(line)

    def _write(self) -> None:
        while self._outgoing:
            sent = self._send(self._outgoing)
            if not sent:
                self._loop.on_write(self._socket.fileno(), self._write)
                return
            del self._outgoing[:sent]
        self._loop.on_write(self._socket.fileno(), None)

    def _send(self, data: bytes | bytearray) -> int:
        """Send what the socket takes now; gives how much need not be kept."""
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            return len(data)  # The reader sees the end of the connection as well, and calls back from the loop.

    def _end(self) -> None:
        if not self.closed:
            self.close()
            self._on_close()


class Channel(LineChannel):
    """A connection whose lines are messages; the first that is none ends it."""

    def __init__(
        self,
        loop: Loop,
        connection: Stream,
        on_message: Callable[[dict[str, Any]], None],
        on_close: Callable[[], None],
    ) -> None:
        super().__init__(loop, connection, self._take, on_close)
        self._on_message = on_message

    def send(self, message: dict[str, Any], *, fds: tuple[int, ...] = ()) -> None:
        """Send a message, with open files where the other side needs some; never waits."""
        self.send_line(encode(message), fds=fds)

    def _take(self, line: bytes) -> None:
        message = decode(line)
        if message is None:
            self._end()
        else:
            self._on_message(message)


def encode(message: dict[str, Any]) -> bytes:
    """Give a message's line."""
    return _COMPACT.encode(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """Read a message's line; None if it is none."""
    try:
        message = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def listen(path: str) -> socket.socket:
    """Listen on a Unix socket that only this user can reach."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(old_mask)
    listener.listen(512)
    listener.setblocking(False)
    return listener


def accept(listener: socket.socket) -> socket.socket | None:
    """Accept a connection of our own user's or root's; None where there is none, or it is a stranger's."""
    try:
        connection, _ = listener.accept()
    except OSError:
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    if uid not in (os.getuid(), 0):
        connection.close()
        return None
    return connection
