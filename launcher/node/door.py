"""Whether machines reach each other: a listener for no other purpose, and calls to those of other nodes.

Coordinator and agents tell each other where each listens, and the key with which it can prove to be itself: at the same
address of another network somebody else may live. Who listens is told nothing, and gives nothing but such a proof.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import socket
from collections.abc import Callable

from .loop import Loop
from .messages import Answers, Door, Reached, Target, TryAddresses

LIMIT = 3.0
"""Seconds in which an address has to answer: more than one try of the kernel's are in them."""
_AT_ONCE = 128
"""Calls that go on at once."""
_CALLERS = 512
"""Callers that are heard at once; with thousands of nodes the others wait in the kernel."""
_BACKLOG = 4096
_CHALLENGE, _PROOF = 16, 32


def _proof(key: str, challenge: bytes) -> bytes:
    return hashlib.blake2b(challenge, key=bytes.fromhex(key), digest_size=_PROOF).digest()


class Listener:
    """What a node listens with until its processes start."""

    def __init__(self, loop: Loop) -> None:
        """Listen on all interfaces, for any of them may be the one that others reach. May raise OSError."""
        self._loop = loop
        try:
            self._socket = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
        except (OSError, ValueError):
            # A kernel, or a container, without IPv6.
            self._socket = socket.create_server(("", 0), backlog=_BACKLOG)
        self._socket.setblocking(False)
        self.door = Door(int(self._socket.getsockname()[1]), secrets.token_hex(16))
        self._callers: set[_Conversation] = set()
        loop.on_read(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Listen no more."""
        if self._socket.fileno() >= 0:
            self._loop.on_read(self._socket.fileno(), None)
            self._socket.close()
            for caller in tuple(self._callers):
                caller.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return  # It has gone again.
        self._callers.add(_Conversation(self._loop, connection, _CHALLENGE, self._answer, self._over))
        if len(self._callers) >= _CALLERS:
            self._loop.on_read(self._socket.fileno(), None)

    def _answer(self, caller: _Conversation, challenge: bytes) -> None:
        caller.say(_proof(self.door.key, challenge))

    def _over(self, caller: _Conversation) -> None:
        self._callers.discard(caller)
        if self._socket.fileno() >= 0:
            self._loop.on_read(self._socket.fileno(), self._accept)


class Trial:
    """Calls to the doors of other nodes at all their addresses at once; once the first answers, the rest can go."""

    def __init__(self, loop: Loop, order: TryAddresses, done: Callable[[Reached], None]) -> None:
        self._loop = loop
        self._done = done
        self._tries_all = order.all
        self._reached: dict[int, list[str]] = {target.node: [] for target in order.targets}
        self._left = {target.node: len(target.addresses) for target in order.targets}
        """Addresses that each node is still to be tried at."""
        self._unsettled = sum(bool(count) for count in self._left.values())
        self._is_told = False
        self._waiting = [(target, address) for target in reversed(order.targets) for address in target.addresses[::-1]]
        self._going: set[_Call] = set()
        self._call_more()

    def _call_more(self) -> None:
        while self._waiting and len(self._going) < _AT_ONCE:
            target, address = self._waiting.pop()
            if not self._left[target.node]:
                continue  # The one that is preferred has answered.
            call = _Call(self._loop, target, address, self._ended)
            self._going.add(call)
            call.begin()
        if not self._unsettled and not self._is_told:
            self._is_told = True
            found = tuple(Answers(node, tuple(addresses)) for node, addresses in self._reached.items())
            self._loop.post(lambda: self._done(Reached(found)))

    def _ended(self, call: _Call, answers: bool) -> None:
        self._going.discard(call)
        node = call.target.node
        if not self._left[node]:
            return  # Nobody waits for it any more.
        self._left[node] -= 1
        if answers:
            self._reached[node].append(call.address)
            if call.address == call.target.addresses[0] and not self._tries_all:
                self._left[node] = 0
                for other in [other for other in self._going if other.target.node == node]:
                    other.abandon()
        self._unsettled -= not self._left[node]
        self._loop.post(self._call_more)


class _Conversation:
    """A connection over which one piece of a known length is to come, within a limit."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        length: int,
        heard: Callable[[_Conversation, bytes], None],
        over: Callable[[_Conversation], None],
    ) -> None:
        self._loop, self._connection, self._length = loop, connection, length
        self._heard, self._over = heard, over
        self._incoming = b""
        connection.setblocking(False)
        loop.on_read(connection.fileno(), self._read)
        self._timer = loop.call_later(LIMIT, self.close)

    def say(self, data: bytes) -> None:
        """Say a few bytes, which a new connection always takes."""
        try:
            self._connection.send(data)
        except OSError:
            self.close()

    def close(self) -> None:
        """Hang up."""
        if self._connection.fileno() >= 0:
            self._loop.cancel(self._timer)
            self._loop.on_read(self._connection.fileno(), None)
            self._connection.close()
            self._over(self)

    def _read(self) -> None:
        try:
            data = self._connection.recv(self._length)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._incoming += data
        if not data:
            self.close()
        elif len(self._incoming) >= self._length:
            piece, self._incoming = self._incoming[: self._length], b""
            self._heard(self, piece)


class _Call:
    """A call to one address of another node."""

    def __init__(self, loop: Loop, target: Target, address: str, ended: Callable[[_Call, bool], None]) -> None:
        self.target, self.address = target, address
        self._loop, self._ended = loop, ended
        self._challenge = os.urandom(_CHALLENGE)
        self._answers = False
        self._timer: int | None = None
        self._conversation: _Conversation | None = None
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)

    def begin(self) -> None:
        """Call."""
        self._socket.setblocking(False)
        try:
            error = self._socket.connect_ex((self.address, self.target.door.port))
        except OSError:
            error = errno.EINVAL  # No address of this kind can be called from here.
        if error not in (0, errno.EINPROGRESS):
            self._socket.close()
            self._ended(self, False)
            return
        self._timer = self._loop.call_later(LIMIT, self.abandon)
        self._loop.on_write(self._socket.fileno(), self._connected)

    def abandon(self) -> None:
        """Hang up, whatever may come."""
        if self._conversation is not None:
            self._conversation.close()
        elif self._socket.fileno() >= 0:
            self._stop_waiting()
            self._socket.close()
            self._ended(self, False)

    def _stop_waiting(self) -> None:
        self._loop.on_write(self._socket.fileno(), None)
        if self._timer is not None:
            self._loop.cancel(self._timer)

    def _connected(self) -> None:
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abandon()
            return
        self._stop_waiting()
        self._conversation = _Conversation(self._loop, self._socket, _PROOF, self._proven, self._hung_up)
        self._conversation.say(self._challenge)

    def _proven(self, conversation: _Conversation, proof: bytes) -> None:
        self._answers = secrets.compare_digest(proof, _proof(self.target.door.key, self._challenge))
        conversation.close()

    def _hung_up(self, conversation: _Conversation) -> None:
        self._ended(self, self._answers)
