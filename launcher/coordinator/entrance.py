"""The run's way in from the network: nobody gets past it who does not hold the run's key.

Until then a connection is worth one handshake, one line and a few seconds, of which only so many go on at once;
nothing that it sends is read but that line.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable

from regiment.jobs.dataclass import dataclass

from ..node.loop import Loop
from ..node.proof import MAX_LINE, CoordinatorProof, Proven, Unproven
from ..node.tls import TlsStream, fingerprint, shows, tune
from .network import Network

PATIENCE = 5.0
"""Seconds a connection has to prove itself."""
MOST_UNPROVEN = 256
"""Connections that may be at it at once; others wait in the kernel's queue."""
MOST_OF_ONE = 64
"""Of these, those that may be one address's."""
_REPORT_INTERVAL = 30.0
"""Seconds between two reports of what was dropped; the first of a kind is reported at once."""
_BUSY_PAUSE = 0.2
"""Seconds without new connections where there are no descriptors for them."""
_HUNG_UP = "hung up before it had proven anything"


@dataclass(frozen=True)
class Arrival:
    """A node whose connection is proven."""

    rank: int
    stream: TlsStream
    peer: str
    """The address its connection comes from."""


class Entrance:
    """Takes connections and gives those that are proven."""

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        network: Network,
        on_arrival: Callable[[Arrival], None],
        note: Callable[[str], None],
    ) -> None:
        """`note` hears what was dropped and why, now and then."""
        self._loop = loop
        self._listener = listener
        self._key = bytes.fromhex(network.key)
        self._context = server_context(network)
        self._fingerprint = fingerprint(ssl.PEM_cert_to_DER_cert(network.certificate))
        self._on_arrival = on_arrival
        self._dropped = _Dropped(loop, note)
        self._unproven: Counter[str] = Counter()
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Let nobody in any more."""
        self._loop.on_read(self._listener.fileno(), None)
        self._listener.close()

    def _listen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.on_read(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._dropped.take("somebody", f"no connection can be taken: {error.strerror}")
            self._loop.on_read(self._listener.fileno(), None)
            self._loop.call_later(_BUSY_PAUSE, self._listen)
            return
        peer = str(address[0]).removeprefix("::ffff:")
        if self._unproven[peer] >= MOST_OF_ONE:
            connection.close()
            self._dropped.take(peer, f"more than {MOST_OF_ONE} unproven connections of one address")
            return
        self._unproven[peer] += 1
        if self._unproven.total() >= MOST_UNPROVEN:
            self._loop.on_read(self._listener.fileno(), None)
        try:
            _Knock(self, connection, peer)
        except OSError:  # It was reset before it was taken, and so cannot even be wrapped.
            connection.close()
            self.dropped(peer, _HUNG_UP)

    def proof(self) -> CoordinatorProof:
        """Give the proof for one connection."""
        return CoordinatorProof(self._key, self._fingerprint)

    def wrapped(self, connection: socket.socket) -> ssl.SSLSocket:
        """Give the connection's TLS, before its handshake."""
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    @property
    def loop(self) -> Loop:
        """The loop that all is done in."""
        return self._loop

    def proven(self, proven: Proven, stream: TlsStream, peer: str) -> None:
        """Take a connection that has proven itself."""
        self._done(peer)
        self._on_arrival(Arrival(proven.rank, stream, peer))

    def dropped(self, peer: str, reason: str) -> None:
        """Take down that a connection was dropped."""
        self._done(peer)
        self._dropped.take(peer, reason)

    def _done(self, peer: str) -> None:
        self._unproven[peer] -= 1
        if self._unproven[peer] <= 0:
            del self._unproven[peer]
        self._listen()


class _Knock:
    """One connection, until it has proven itself or is dropped."""

    def __init__(self, entrance: Entrance, connection: socket.socket, peer: str) -> None:
        self._entrance = entrance
        self._peer = peer
        self._line = b""
        self._proof = entrance.proof()
        connection.setblocking(False)
        tune(connection)
        self._socket = entrance.wrapped(connection)
        self._fd = self._socket.fileno()
        self._next = self._shake_hands
        self._timer: int | None = entrance.loop.call_later(PATIENCE, self._time_is_up)
        self._go_on()

    def _go_on(self) -> None:
        try:
            self._next()
        except ssl.SSLWantReadError:
            self._wait_to_read()
        except ssl.SSLWantWriteError:
            self._entrance.loop.on_read(self._fd, None)
            self._entrance.loop.on_write(self._fd, self._go_on)
        except ssl.SSLError:
            self._drop("no TLS, or it was broken off")
        except OSError:
            self._drop(_HUNG_UP)
        except Unproven as why:
            self._drop(str(why))

    def _wait_to_read(self) -> None:
        self._entrance.loop.on_write(self._fd, None)
        self._entrance.loop.on_read(self._fd, self._go_on)

    def _shake_hands(self) -> None:
        self._socket.do_handshake()
        self._next = self._greet
        self._greet()

    def _greet(self) -> None:
        self._socket.send(self._proof.hello)  # It is short, and the first: a fresh connection takes it whole.
        self._next = self._listen
        self._wait_to_read()  # What may have come already is in the kernel yet: TLS reads no record ahead.

    def _listen(self) -> None:
        while not self._line.endswith(b"\n"):
            part = self._socket.recv(MAX_LINE + 1 - len(self._line))
            if not part:
                raise Unproven(_HUNG_UP)
            self._line += part
            if len(self._line) > MAX_LINE or b"\n" in self._line[:-1]:
                raise Unproven("more than the one line that it may send")
        proven = self._proof.check(self._line)
        self._socket.send(proven.answer)
        self._leave_loop()
        self._entrance.proven(proven, TlsStream(self._socket), self._peer)

    def _time_is_up(self) -> None:
        self._timer = None
        self._drop(f"not proven within {PATIENCE:g} s")

    def _drop(self, reason: str) -> None:
        self._leave_loop()
        self._socket.close()
        self._entrance.dropped(self._peer, reason)

    def _leave_loop(self) -> None:
        loop = self._entrance.loop
        if self._timer is not None:
            loop.cancel(self._timer)
        loop.on_read(self._fd, None)
        loop.on_write(self._fd, None)


class _Dropped:
    """Reports what was dropped: the first of a kind at once, all others in sums, for there may be many."""

    def __init__(self, loop: Loop, note: Callable[[str], None]) -> None:
        self._loop = loop
        self._note = note
        self._known: set[str] = set()
        self._counts: Counter[str] = Counter()

    def take(self, peer: str, reason: str) -> None:
        """Take down one."""
        if reason not in self._known:
            self._known.add(reason)
            self._note(f"a connection from {peer} to the run's port was dropped: {reason}")
            return
        if not self._counts:
            self._loop.call_later(_REPORT_INTERVAL, self._report)
        self._counts[reason] += 1

    def _report(self) -> None:
        for reason, count in self._counts.items():
            print(f"{count} more connections to the run's port were dropped: {reason}", file=sys.stderr, flush=True)
        self._counts.clear()


def server_context(network: Network) -> ssl.SSLContext:
    """Give the settings of whoever shows the run's certificate."""
    return shows(network.certificate, network.private_key)
