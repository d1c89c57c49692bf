"""A stream of ours that may be slow, closed by its reader, or no file at all."""

from __future__ import annotations

import os
import select
from typing import TextIO

_ATOM = 4096
"""What a pipe or terminal that polls as writable takes without blocking (PIPE_BUF)."""


class Outlet:
    """Text on its way out, never waiting for the reader unless told to.

    A blocked write would keep a person's Ctrl-C from being acted on, so nothing is written before the other
    side has room. A reader that went away ends the output, not the program: what is put then is dropped.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._fd = descriptor(stream)
        self._buffer = bytearray()
        self.broken = False
        """Whether the reader has gone away."""

    @property
    def waiting(self) -> int:
        """Bytes that the reader has not taken yet."""
        return len(self._buffer)

    def put(self, text: str) -> None:
        """Take text to be written by the next `push` or `drain`."""
        self.put_bytes(text.encode(self._encoding, "backslashreplace"))

    def put_bytes(self, data: bytes) -> None:
        """Take bytes as they are."""
        if not self.broken:
            self._buffer += data

    def push(self) -> bool:
        """Write as much as the reader takes without waiting; say whether all is written."""
        return self._write(0)

    def drain(self) -> None:
        """Write all there is, waiting for the reader as long as it takes."""
        self._write(None)

    def _write(self, wait: float | None) -> bool:
        start = 0
        try:
            if self._fd is None:
                self._stream.write(self._buffer.decode(self._encoding, "replace"))
                self._buffer.clear()
            while start < len(self._buffer) and writable(self._fd, wait):
                start += os.write(self._fd, self._buffer[start : start + _ATOM])  # type: ignore[arg-type]
        except BlockingIOError:  # somebody made the shared descriptor non-blocking
            pass
        except (OSError, ValueError):  # closed by the reader, a terminal that hung up, a stream that was closed
            self.broken = True
            self._buffer.clear()
            return True
        del self._buffer[:start]
        return not self._buffer


def writable(fd: int | None, wait: float | None = 0) -> bool:
    """Say whether a descriptor takes bytes now, or within `wait` seconds; None waits for it."""
    if fd is None:
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(None if wait is None else wait * 1000))


def descriptor(stream: TextIO) -> int | None:
    """Give a stream's descriptor, flushed; None if it has none, as a stream in memory."""
    try:
        stream.flush()  # what others wrote through the stream goes first
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
