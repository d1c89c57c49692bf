"""A host from the coordinator's side: called until it answers, and called again where a connection breaks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..backends.link import Link, Owner
from ..node.loop import Loop
from .cable import Cable
from .calling import Call
from .command import Payload, another_call, first_call
from .failures import failure

_STALLED = 3.0
"""Seconds in which a host has not taken what was sent after which it is called again: beats go every other second."""
_CONNECT_LIMIT = 3.0
"""Seconds until one of the calls again has to have found the host: the kernel's own tries come ever more seldom."""
BROKEN_LIMIT = 8.0
"""Seconds without a connection that works after which a node is lost, unless its agent's silence says so before; the
node itself waits longer than that."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
"""Seconds between two calls; each pause is longer than the one before."""


class HostOwner(Owner, Protocol):
    """Whoever has all hosts."""

    def is_broken(self, reach: Reach, /) -> None:
        """Take down that a host's connection has ended."""


class Reach:
    """One host, until it is given up."""

    def __init__(
        self,
        owner: HostOwner,
        loop: Loop,
        rank: int,
        host: str,
        python: str,
        payload: Payload,
        limit: float,
        on_failed: Callable[[Reach, str], None],
    ) -> None:
        """Be one that has not been called yet; `limit` is how many seconds it has until its node is there.

        `on_failed` hears that it cannot be reached, or not any more, and why.
        """
        self._owner = owner
        self._loop = loop
        self.rank = rank
        self.host = host
        self._python = python
        self._payload = payload
        self._limit = limit
        self._on_failed = on_failed
        self._call: Call | None = None
        self._carrier: Call | None = None
        """The call that carries the cable now."""
        self._cable: Cable | None = None
        self.link: Link | None = None
        self._again: tuple[str, str] = ("", "")
        """Where the packed agent and the relay's socket are on the host."""
        self._began_at = time.monotonic()
        self._broken_at: float | None = None
        self._lingers_until: float | None = None
        self._reason = ""
        self._pause = _FIRST_PAUSE
        self._over = False

    @property
    def is_dialling(self) -> bool:
        """Say whether it takes one of the calls that may go on at once."""
        return not self._over and self.link is None

    @property
    def works(self) -> bool:
        """Say whether it has a connection that is not known to be broken."""
        return self._cable is not None and self._cable.is_connected and self._broken_at is None

    @property
    def waits_for(self) -> str:
        """Say what it is at, for people: `node07 (auth 12 s)`."""
        what = self._call.waits_for if self._call is not None else "next try"
        return f"{self.host} ({what} {round(time.monotonic() - self._began_at)} s)"

    @property
    def lingers(self) -> bool:
        """Say whether it is called for nothing but to hear that it has ended what it ran."""
        return self._lingers_until is not None

    def linger(self, until: float) -> None:
        """Go on calling a host whose node is lost, so that it is told; by then that has ended by itself."""
        self._lingers_until = until

    def begin(self) -> None:
        """Call it for the first time."""
        self._began_at = time.monotonic()
        self._dial()

    def close(self) -> None:
        """Want nothing of it any more."""
        self._over = True
        for call in (self._call, self._carrier):
            if call is not None:
                call.give_up()
        self._call = self._carrier = None
        if self.link is not None:
            self.link.channel.close()
        if self._cable is not None:
            self._cable.close()

    def count_anew(self) -> None:
        """Blame the host for nothing that was so far: it was we who did not look."""
        if self._cable is not None:
            self._cable.count_anew()
        if self._broken_at is not None:
            self._broken_at = time.monotonic()

    def look(self) -> None:
        """See whether it takes too long, or nothing comes over its connection any more."""
        if self._over:
            return
        now = time.monotonic()
        if self._cable is None:
            if now - self._began_at > self._limit:
                what = self._reason or f"it still waits: {self._call.waits_for if self._call else 'for its next try'}"
                self._fail(f"{self.host} is not up within {self._limit:g} s; {what}")
            return
        if self._cable.stalled > _STALLED and self._broken_at is None:
            self._broken_at = now - self._cable.stalled
            self._dial()
        elif self._broken_at is not None and self._cable.is_connected and self._cable.stalled < _STALLED:
            self._mend()  # It was only slow.
        if self._broken_at is not None and now > (self._lingers_until or self._broken_at + BROKEN_LIMIT):
            why = f": {self._reason}" if self._reason else ""
            self._fail(
                f"was lost: the connection to {self.host} broke, and none could be made again within "
                f"{BROKEN_LIMIT:g} s{why}"
            )
        elif self._call is not None and self._call.is_connecting and now - self._call.began_at > _CONNECT_LIMIT:
            self._call.give_up()
            self._call = None
            self._reason = f"{self.host} does not answer"
            self._dial()

    # --- calls --------------------------------------------------------------------------------------

    def _dial(self) -> None:
        if self._over or self._call is not None:
            return
        if self._cable is None:
            argv = first_call(os.environ, self.host, self._python, len(self._payload.first))
        else:
            argv = another_call(os.environ, self.host, self._python, *self._again)
        try:
            self._call = Call(self._loop, argv, self._heard, self._ended)
        except OSError as error:
            self._fail(f"{argv[0]} cannot be started ({error.strerror}); install OpenSSH's client")
            return
        if self._cable is None:
            self._call.send(self._payload.first)

    def _heard(self, call: Call, words: dict[str, Any]) -> None:
        if "has" in words:
            call.stage = "its agent"
            if not words["has"]:
                call.send(self._payload.compressed)
        elif words.get("isThere"):
            self._connected(call, words)
        else:
            self._fail(f"was lost: nothing of it is left on {self.host}; it was ended there, or its machine restarted")

    def _connected(self, call: Call, words: dict[str, Any]) -> None:
        connection = call.take_socket()
        if self._carrier is not None:
            self._carrier.give_up()
        self._call, self._carrier = None, call
        self._again = (str(words["zip"]), str(words["socket"]))
        if self._cable is None:
            self._cable = Cable(self._loop, self._broke, self._user_left)
            self.link = Link(self._owner, self.rank, self.host, self._loop, self._cable.end)
        self._mend()
        self._cable.attach(connection)

    def _mend(self) -> None:
        self._broken_at, self._lingers_until, self._reason, self._pause = None, None, "", _FIRST_PAUSE
        if self._call is not None:
            self._call.give_up()
            self._call = None

    def _ended(self, call: Call) -> None:
        """Find out why a call has come to nothing, and call again where that may help."""
        if call is not self._call:
            return
        self._call = None
        found = failure(call.said, self.host, self._python)
        self._reason = f"{self.host} {found.reason}"
        if self._cable is None and not found.may_pass:
            self._fail(self._reason)
            return
        self._loop.call_later(self._pause, self._dial)
        self._pause = min(self._pause * 1.6, _LONGEST_PAUSE)

    def _broke(self) -> None:
        if self._carrier is not None:
            self._carrier.give_up()
            self._carrier = None
        if self._over:
            return
        if self._broken_at is None:
            self._broken_at = time.monotonic()
        self._owner.is_broken(self)
        self._dial()

    def _user_left(self) -> None:
        self.close()

    def _fail(self, reason: str) -> None:
        if not self._over:
            self.close()
            self._on_failed(self, reason)
