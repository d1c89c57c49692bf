"""The way from a node to node 0: a connection over which both have proven the run's key to each other."""

from __future__ import annotations

import errno
import math
import random
import socket
import ssl
import time
from collections.abc import Callable
from functools import cache
from typing import Protocol

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import NodeError

from ..node.proof import MAX_LINE, AgentProof, Unproven
from ..node.tls import TlsStream, fingerprint, tune

_ATTEMPT_LIMIT = 20.0
"""Seconds for one attempt, from dialling to the proof."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between attempts; each pause is longer than the one before, and a little random: thousands may dial."""
_SAID_AFTER, _SAID_AGAIN = 3.0, 30.0
"""Seconds of waiting after which it is said what for, and between two such words."""
_REFUSAL_LIMIT = 30.0
"""Seconds for which whoever answers may have another key: an earlier run's coordinator may still be at its end."""


class Way(Protocol):
    """What has to be known to dial: a node's place, or as much of it."""

    @property
    def rank(self) -> int:
        """The node's own."""

    @property
    def host(self) -> str:
        """Node 0's name or address."""

    @property
    def port(self) -> int:
        """Where it listens."""

    @property
    def master(self) -> str:
        """Both of these, for people."""


_NO_WAY = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES})
"""Errors that say that nobody listens there, or that no way leads there."""


@dataclass(frozen=True)
class Connection:
    """A proven connection to the coordinator."""

    stream: TlsStream
    address: str
    """This node's own, on the interface that faces the coordinator."""


def dial(
    place: Way, key: bytes, limit: float, say: Callable[[str], None], no_way_limit: float = math.inf
) -> Connection:
    """Dial node 0 until it answers, for at most `limit` seconds; `no_way_limit` of them if no way leads there.

    Raises:
        NodeError: it never did, or does not hold the run's key.
    """
    began = time.monotonic()
    pause, say_at, refused_at = _FIRST_PAUSE, began + _SAID_AFTER, None
    doubt = ""
    while True:
        try:
            return _attempt(place, key, min(_ATTEMPT_LIMIT, max(1.0, began + limit - time.monotonic())))
        except Unproven as why:
            now = time.monotonic()
            refused_at = refused_at or now
            doubt = reason = f"it and this node have not proven the run's key to each other: {why}"
            if now - refused_at > _REFUSAL_LIMIT:
                raise NodeError(f"{place.master} answers, but {reason}; give all nodes the same key file") from None
        except OSError as error:
            now, refused_at = time.monotonic(), None
            reason = str(error.strerror or error)
            limit = min(limit, no_way_limit) if error.errno in _NO_WAY else limit
        left = began + limit - now
        if left <= 0:
            raise NodeError(
                f"node 0 at {place.master} has not answered within {limit:g} s ({doubt or reason}); see that its agent "
                "runs, and that this node can reach it"
            )
        if now >= say_at:
            say_at = now + _SAID_AGAIN
            say(f"node rank {place.rank} waits for node 0 at {place.master}, {round(left)} s left ({reason})")
        time.sleep(min(pause * random.uniform(0.7, 1.3), max(left, 0.01)))
        pause = min(pause * 1.6, _LONGEST_PAUSE)


def _attempt(place: Way, key: bytes, limit: float) -> Connection:
    deadline = time.monotonic() + limit
    plain = socket.create_connection((place.host, place.port), timeout=limit)
    try:
        tune(plain)
        connection = _context().wrap_socket(plain)
    except BaseException:
        plain.close()
        raise
    try:
        _prove(connection, key, place.rank, deadline)
    except BaseException:
        connection.close()
        raise
    return Connection(TlsStream(connection), str(connection.getsockname()[0]))


@cache
def _context() -> ssl.SSLContext:
    """Give a client's settings: who is at the other end the proof tells, and no authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _prove(connection: ssl.SSLSocket, key: bytes, rank: int, deadline: float) -> None:
    certificate = connection.getpeercert(binary_form=True)
    if certificate is None:
        raise Unproven("it has no certificate")
    proof = AgentProof(key, fingerprint(certificate), rank)
    connection.sendall(proof.answer(_line(connection, deadline)))
    proof.check(_line(connection, deadline))


def _line(connection: ssl.SSLSocket, deadline: float) -> bytes:
    """Read one line: what follows is for others, and comes in a TLS record of its own, which is left unread."""
    line = b""
    while b"\n" not in line:
        left = deadline - time.monotonic()
        if left <= 0 or len(line) > MAX_LINE:
            raise Unproven("it says too little, or too much")
        connection.settimeout(left)
        part = connection.recv(MAX_LINE)  # Never of more than one record.
        if not part:
            raise Unproven("it hung up; its key may be another one")
        line += part
    if b"\n" in line[:-1]:
        raise Unproven("it says more than the one line")
    return line
