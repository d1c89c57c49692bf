"""One call of ssh, from its start to the connection that a host's own lines announce."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..node import processes
from ..node.loop import Loop
from .bootstrap import MARK
from .failures import CONNECTING, phase

_MOST_SAID = 64 * 1024
"""Bytes that are kept of what ssh says, the last ones."""
_LAST_WORDS = 1.0
"""Seconds that ssh has to say why it has ended."""


class Call:
    """A process of ssh's; calls back with each line of ours, and once when it has ended or was given up."""

    def __init__(
        self,
        loop: Loop,
        argv: Sequence[str],
        on_words: Callable[[Call, dict[str, Any]], None],
        on_end: Callable[[Call], None],
    ) -> None:
        """Start it. May raise OSError: there is no such program."""
        self._loop = loop
        self._on_words = on_words
        self._on_end = on_end
        self.began_at = time.monotonic()
        self.stage: str | None = None
        """What it waits for, where that is known better than from what ssh says."""
        self._said = bytearray()
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._open = True
        self._is_over = False
        """Whether nobody wants to hear of its end any more."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._errors, errors = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._socket.setblocking(False)
        try:
            self.pid = os.posix_spawnp(
                argv[0],
                list(argv),
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, errors, 2),
                ],
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
            )
        except OSError:
            self._socket.close()
            os.close(self._errors)
            raise
        finally:
            theirs.close()
            os.close(errors)
        loop.on_read(self._errors, self._hear_errors)
        loop.on_read(self._socket.fileno(), self._read)

    @property
    def said(self) -> str:
        """What ssh and the host's shell have said on their standard error."""
        return self._said.decode(errors="replace")

    @property
    def waits_for(self) -> str:
        """What it is at, for people."""
        return self.stage or phase(self.said)

    @property
    def is_connecting(self) -> bool:
        """Say whether it has not found the host yet."""
        return self.stage is None and phase(self.said) == CONNECTING

    def send(self, data: bytes) -> None:
        """Send to what runs on the host."""
        self._outgoing += data
        self._write()

    def take_socket(self) -> socket.socket:
        """Give the connection, which is somebody else's from now on."""
        self._leave_loop()
        self._open, self._is_over = False, True
        return self._socket

    def give_up(self) -> None:
        """End it, without a word to anybody."""
        self._is_over = True
        if self._open:
            self._leave_loop()
            self._open = False
            self._socket.close()
        self._end_errors()
        processes.send_group(self.pid, signal.SIGKILL)

    def _leave_loop(self) -> None:
        self._loop.on_read(self._socket.fileno(), None)
        self._loop.on_write(self._socket.fileno(), None)

    def _write(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self._socket.send(self._outgoing)]
        except BlockingIOError:
            self._loop.on_write(self._socket.fileno(), self._write)
            return
        except OSError:
            self._outgoing.clear()
        self._loop.on_write(self._socket.fileno(), None)

    def _read(self) -> None:
        try:
            # One byte at a time where our own line may end: what follows is somebody else's.
            data = self._socket.recv(1 << 16, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        line, newline, _ = data.partition(b"\n")
        self._socket.recv(len(line + newline))
        self._incoming += line
        if not newline:
            return
        whole, self._incoming = bytes(self._incoming), bytearray()
        words = _words(whole)
        if words is None:
            self._keep_said(whole + b"\n")  # A shell's greeting, or its complaint.
        else:
            self._on_words(self, words)

    def _hear_errors(self) -> None:
        try:
            data = os.read(self._errors, 1 << 16)
        except BlockingIOError:
            return
        if data:
            self._keep_said(data)
        else:
            self._end_errors()

    def _keep_said(self, data: bytes) -> None:
        self._said += data
        del self._said[:-_MOST_SAID]

    def _end(self) -> None:
        if self._open:
            self._leave_loop()
            self._open = False
            self._socket.close()
            # A shared connection that stays for others keeps it open.
            self._loop.call_later(_LAST_WORDS, self._end_errors)
            self._end_when_both()

    def _end_errors(self) -> None:
        if self._errors >= 0:
            self._loop.on_read(self._errors, None)
            os.close(self._errors)
            self._errors = -1
            self._end_when_both()

    def _end_when_both(self) -> None:
        """Say that it has ended when there is nothing more to read: why it has is what was read last."""
        if not self._open and self._errors < 0 and not self._is_over:
            self._is_over = True
            self._on_end(self)


def _words(line: bytes) -> dict[str, Any] | None:
    """Read a line of ours; None for another one."""
    if not line.startswith(MARK):
        return None
    try:
        words = json.loads(line[len(MARK) :])
    except ValueError:
        return None
    return words if isinstance(words, dict) else None
