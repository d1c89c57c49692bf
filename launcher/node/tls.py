"""A TLS connection as a channel sees a socket; imported only where a run's nodes are joined over a network."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl

_RECORD = 16384
"""Bytes of the largest TLS record: who reads so many at once leaves nothing behind that `select` cannot see."""
_KEEPALIVE_SECONDS = 10
_UNACKNOWLEDGED_MS = 10_000
"""After so long without an answer to what was sent, the connection is over, whatever the kernel still hopes for."""


class TlsStream:
    """A TLS connection that says "not now" as a plain socket does: by `BlockingIOError`.

    Python's own is no drop-in: what it raises instead is an `OSError` of another kind, which means the end elsewhere.
    """

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        """Give the descriptor to wait for."""
        return self._connection.fileno()

    def setblocking(self, flag: bool, /) -> None:
        """Wait, or never."""
        self._connection.setblocking(flag)

    def settimeout(self, value: float | None, /) -> None:
        """Wait so many seconds."""
        self._connection.settimeout(value)

    def recv(self, size: int, /) -> bytes:
        """Give what has come, as many records as are full; nothing at the end."""
        parts: list[bytes] = []
        while size >= _RECORD:
            try:
                parts.append(self._connection.recv(_RECORD))
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if not parts:
                    raise BlockingIOError from None
                break
            size -= _RECORD
            if len(parts[-1]) < _RECORD:
                break  # What follows is still in the kernel: to look for it costs more than to be called again.
        return b"".join(parts)

    def send(self, data: bytes | bytearray, /) -> int:
        """Send what can be sent now; the next call must begin with the same bytes."""
        try:
            return self._connection.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def sendall(self, data: bytes | bytearray, /) -> None:
        """Send all, within the time set."""
        self._connection.sendall(data)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def tune(connection: socket.socket) -> None:
    """Let small messages go at once, and a peer that is gone be noticed."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)


def fingerprint(certificate: bytes) -> bytes:
    """Give what tells a certificate, in its binary form, from every other one."""
    return hashlib.sha256(certificate).digest()


def shows(certificate: str, private_key: str) -> ssl.SSLContext:
    """Give the settings of whoever is dialled, and shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # Nobody resumes a session, and making tickets takes longer than the handshake's rest.
    # Python takes certificates from files only; this one is on no disk.
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with open(descriptor, "wb") as file:
        file.write((certificate + private_key).encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context
