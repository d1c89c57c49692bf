"""Hosts that are called for errands: all at once, until each answers or it is known why it does not."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import NodeError, UserError

from ..coordinator.hosts import AT_ONCE
from ..node.loop import Loop
from .calling import Call
from .command import Payload, first_call, payload
from .failures import failure

_PAUSE = 0.5
"""Seconds until a host is called again that has hung up."""
ANSWER_LIMIT = 30.0
"""Seconds that a host has for the next word of an answer."""


class Broken(NodeError):
    """A host does not answer any more."""


class Visit:
    """A connection to a host that runs errands; it is asked something, answers, and is asked the next thing."""

    def __init__(self, host: str, call: Call, connection: socket.socket) -> None:
        self.host = host
        self._call = call
        self._connection = connection
        connection.setblocking(True)
        connection.settimeout(ANSWER_LIMIT)
        self._lines = connection.makefile("rb")
        self._is_over = False

    def send(self, words: dict[str, Any]) -> None:
        """Say something; raises Broken."""
        self.send_all((words,))

    def send_all(self, words: Iterable[dict[str, Any]]) -> None:
        """Say several things, one after the other."""
        try:
            for some in words:
                self._connection.sendall(json.dumps(some, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise self._broken(error) from None

    def hear(self) -> dict[str, Any]:
        """Give the next words of the host's.

        Raises:
            UserError: It refuses what it was asked for.
            Broken: It says nothing any more.
        """
        try:
            line = b"" if self._is_over else self._lines.readline()
            words = json.loads(line) if line.endswith(b"\n") else None
        except OSError as error:
            raise self._broken(error) from None
        except ValueError:
            words = None
        if not isinstance(words, dict):
            raise self._broken(None)
        if "refusal" in words:
            raise UserError(f"{self.host}: {words['refusal']}")
        return words

    def ask(self, words: dict[str, Any]) -> dict[str, Any]:
        """Say something and give the answer; raises as `hear` does."""
        self.send(words)
        return self.hear()

    def close(self) -> None:
        """Leave."""
        if self._is_over:
            return
        self._is_over = True
        self._lines.close()
        self._connection.close()
        _leave(self._call)

    def _broken(self, error: OSError | None) -> Broken:
        self.close()
        why = "it hung up" if error is None else str(error.strerror or error)
        return Broken(f"{self.host} does not answer any more ({why})")


def visit_all(
    hosts: Sequence[str], python: str, zip_path: str, limit: float, note: Callable[[str], None] = lambda text: None
) -> tuple[Visit | str, ...]:
    """Call all hosts, for at most `limit` seconds; gives for each the connection, or why there is none.

    `note` hears who is waited for. May raise OSError: the packed agent is not there.
    """
    data = payload(zip_path, "errands")
    with _one_at_a_time:
        doors = _Round(_the_loop(), hosts, python, data, limit, note).run()
    return tuple(door.visit or door.reason for door in doors)


_one_at_a_time = threading.Lock()


@cache
def _the_loop() -> Loop:
    """Give the loop of all rounds, in which calls are that go on: a loop that is closed takes all signals along."""
    return Loop()


@dataclass
class _Door:
    """A host that is to be visited."""

    host: str
    call: Call | None = None
    visit: Visit | None = None
    reason: str = ""
    """Why it is not."""
    is_done: bool = False


class _Round:
    """All calls that are made together."""

    def __init__(
        self, loop: Loop, hosts: Sequence[str], python: str, data: Payload, limit: float, note: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._doors = tuple(_Door(host) for host in hosts)
        self._queue = list(self._doors)
        self._python = python
        self._payload = data
        self._limit = limit
        self._note = note

    def run(self) -> tuple[_Door, ...]:
        """Call all and give them, each visited or with the reason why not."""
        self._deadline = time.monotonic() + self._limit
        timers = [self._loop.call_later(self._limit, self._give_up), self._loop.call_later(5.0, self._say_who)]
        self._loop.post(self._go_on)
        self._loop.run()
        for timer in timers:
            self._loop.cancel(timer)
        return self._doors

    def _go_on(self) -> None:
        while self._queue and sum(door.call is not None and not door.is_done for door in self._doors) < AT_ONCE:
            self._dial(self._queue.pop(0))
        if all(door.is_done for door in self._doors):
            self._loop.stop()

    def _dial(self, door: _Door) -> None:
        if door.is_done:
            return
        argv = first_call(os.environ, door.host, self._python, len(self._payload.first))
        try:
            door.call = Call(
                self._loop,
                argv,
                lambda call, words: self._heard(door, call, words),
                lambda call: self._ended(door, call),
            )
        except OSError as error:
            reason = f"{argv[0]} cannot be started ({error.strerror}); install OpenSSH's client"
            self._loop.post(lambda: self._is_done(door, reason))
            return
        door.call.send(self._payload.first)

    def _heard(self, door: _Door, call: Call, words: dict[str, Any]) -> None:
        if "has" in words:
            call.stage = "its agent"
            if not words["has"]:
                call.send(self._payload.compressed)
        else:
            door.visit = Visit(door.host, call, call.take_socket())
            self._is_done(door, "")

    def _ended(self, door: _Door, call: Call) -> None:
        found = failure(call.said, door.host, self._python)
        _leave(call)
        door.reason = f"{door.host} {found.reason}"
        if found.may_pass and time.monotonic() + _PAUSE < self._deadline:
            self._loop.call_later(_PAUSE, lambda: self._dial(door))
        else:
            self._is_done(door, door.reason)

    def _is_done(self, door: _Door, reason: str) -> None:
        door.is_done, door.reason = True, reason
        self._go_on()

    def _give_up(self) -> None:
        for door in self._doors:
            if door.is_done:
                continue
            door.is_done = True
            if door.call is not None:
                waits_for = door.reason or f"it still waits: {door.call.waits_for}"
                door.reason = f"{door.host} is not there within {self._limit:g} s; {waits_for}"
                _leave(door.call)
            else:
                door.reason = f"{door.host} could not be called within {self._limit:g} s"
        self._queue.clear()
        self._loop.stop()

    def _say_who(self) -> None:
        waiting = [door for door in self._doors if not door.is_done and door.call is not None]
        named = ", ".join(f"{door.host} ({door.call.waits_for})" for door in waiting[:4] if door.call is not None)
        if named:
            self._note(f"{sum(d.is_done for d in self._doors)}/{len(self._doors)} up, waiting: {named}")


def _leave(call: Call) -> None:
    """End a call and reap its process: others' children are none of our business."""
    call.give_up()
    try:
        os.waitpid(call.pid, 0)
    except ChildProcessError:
        pass  # Somebody has reaped all.
