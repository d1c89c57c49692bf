"""The warm pool's process: keeps a keeper and agent with what they have imported, until a run takes them.

Then it starts others in their place, as soon as that run is over or has had some seconds to itself. It ends when its
time is over, and whatever no run has taken ends with it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from regiment.jobs.dataclass import dataclass, replace
from regiment.jobs.plain import from_plain

from ..node import processes, scratch
from ..node.channel import Channel, accept, listen
from ..node.limits import raise_limits
from ..node.loop import Loop
from ..node.tag import tag_of
from ..node.warm import WarmOrder
from .keepers import KeeperProcess
from .surroundings import surroundings
from .warm import SOCKET

_AFTER = 10.0
"""Seconds after which the next one imports although the run that took the last goes on."""
_UNASKED_LIMIT = 60.0
"""Seconds in which somebody has to ask for a pool that was just started: whoever started it may have been killed."""
_KILL_LIMIT = 3.0


@dataclass(frozen=True)
class PoolOrder:
    """What `regiment warm` starts it with."""

    folder: str
    """Its own, with its socket and whatever else it needs; it goes when the pool ends."""
    python: str
    """The Python of keepers and agents."""
    zip: str
    warm: WarmOrder
    """What each imports; of its configuration each gets a socket and tag of its own."""


class Place:
    """One keeper and agent, and what they have imported."""

    def __init__(self, pool: WarmPool, order: PoolOrder, number: int) -> None:
        self.token = os.urandom(8).hex()
        """The token of the run that it may become a node of."""
        self.reason: str | None = None
        """Why the ranks could not be forked from it."""
        self.is_fit = False
        self.is_taken = False
        self._pool = pool
        self.folder = f"{order.folder}/{number}"
        config = replace(order.warm.config, socket=f"{self.folder}/s", tag=tag_of(self.token, 0, 0))
        self.keeper = KeeperProcess(order.python, order.zip, config.tag)
        self.keeper.warm(replace(order.warm, config=config))
        self._said = b""
        pool.loop.on_read(self.keeper.output, self._read)

    def take(self) -> tuple[int, int]:
        """Give the files by which a run tells its keeper the configuration and hears of it; they are the run's now."""
        self.is_taken = True
        self._pool.loop.on_read(self.keeper.output, None)
        return self.keeper.hand_over()

    def end(self) -> None:
        """End it, unless a run has it."""
        if not self.is_taken:
            self._pool.loop.on_read(self.keeper.output, None)
            self.keeper.forget()

    def tidy(self) -> None:
        """Take away what it leaves, once its keeper has ended."""
        scratch.remove(self.folder)

    def _read(self) -> None:
        data = os.read(self.keeper.output, 65536)
        self._said += data
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            words = json.loads(line)
            self.is_fit = words["type"] == "fit"
            self.reason = words.get("reason")
        if not data:
            self._pool.loop.on_read(self.keeper.output, None)
            if self.is_fit:
                return  # It was killed; once it is reaped another one takes its place.
            self.reason = self.reason or "it has ended"
        self._pool.changed()


class WarmPool:
    """Answers whoever asks."""

    def __init__(self, order: PoolOrder, log: str) -> None:
        self.loop = Loop()
        self._order = order
        self._log = log
        self._socket = f"{order.folder}/{SOCKET}"
        self._surroundings = surroundings(order.zip)
        self._ends_at = time.monotonic()
        """No sooner than anybody who asked for it was promised."""
        self._timer = self.loop.call_later(_UNASKED_LIMIT, self._retire)
        self._numbers = iter(range(1_000_000_000))
        self._places: dict[int, Place] = {}
        """By the pids of their keepers."""
        self._next: Place | None = None
        """The one that the next run gets."""
        self._is_over = False
        self._waiting: dict[Channel, float] = {}
        """Who wants to know when that is ready, and for how many seconds it is to stay from then on."""
        self._listener = listen(self._socket)

    def run(self) -> None:
        """Stay until the time is over, or somebody ends it."""
        processes.become_subreaper("regiment-warm")
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(number, self._retire)
        self.loop.on_signal(signal.SIGCHLD, self._reap)
        self.loop.on_read(self._listener.fileno(), self._accept)
        self._refill()
        self.loop.run()
        scratch.remove(self._order.folder)
        try:
            os.rmdir(os.path.dirname(self._order.folder))
        except OSError:
            pass  # There are other pools.

    def changed(self) -> None:
        """Tell those who wait what has become of the next."""
        place = self._next
        if place is not None and (place.is_fit or place.reason):
            self._answer()
            if not place.is_fit:
                self._retire()  # The next would not fare better.

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for channel, seconds in waiting.items():
            self._ends_at = max(self._ends_at, time.monotonic() + seconds)
            channel.send(self._state())
        if waiting:
            self._stay()

    def _refill(self) -> None:
        if self._next is None and not self._is_over:
            self._next = place = Place(self, self._order, next(self._numbers))
            self._places[place.keeper.pid] = place

    def _accept(self) -> None:
        connection = accept(self._listener)
        if connection is not None:
            channel = Channel(
                self.loop, connection, lambda data: self._hear(channel, data), lambda: self._forget(channel)
            )

    def _hear(self, channel: Channel, data: dict[str, Any]) -> None:
        match data:
            case {"type": "take", "surroundings": dict(theirs)}:
                self._give(channel, self._unfitness(theirs))
            case {"type": "look"}:
                channel.send(self._state())
            case {"type": "stay", "seconds": int(seconds) | float(seconds)}:
                self._waiting[channel] = seconds
                self._stay()
                self._refill()
                self.changed()
            case {"type": "stop"}:
                self._retire()
                channel.send(self._state())

    def _give(self, channel: Channel, reason: str | None) -> None:
        place = self._next
        if reason is not None or place is None:
            channel.send({"type": "none", "reason": reason})
            return
        self._next = None
        files = place.take()
        try:
            channel.send({"type": "given", "pid": place.keeper.pid, "token": place.token}, fds=files)
        except OSError:
            pass  # Who asked has gone; the keeper sees that nobody wants it.
        for file in files:
            os.close(file)
        self.loop.call_later(_AFTER, self._refill)

    def _unfitness(self, theirs: dict[str, Any]) -> str | None:
        names = sorted(theirs.keys() | self._surroundings.keys())
        differs = next((name for name in names if theirs.get(name) != self._surroundings.get(name)), None)
        if differs is not None:
            return f"{differs} is another one there"
        return None if self._next is not None and self._next.is_fit else "it is still importing"

    def _state(self) -> dict[str, Any]:
        place = self._next
        return {
            "type": "state",
            "pid": os.getpid(),
            "python": self._order.warm.plan.node.python,
            "modules": list(self._order.warm.modules),
            "isReady": place is not None and place.is_fit,
            "reason": place.reason if place is not None else None,
            "secondsLeft": round(max(0.0, self._ends_at - time.monotonic()), 3),
            "log": self._log,
        }

    def _forget(self, channel: Channel) -> None:
        if self._waiting.pop(channel, None) is not None:
            self._stay()

    def _stay(self) -> None:
        """Retire when the time is over, which begins anew once those who wait have what they wait for."""
        self.loop.cancel(self._timer)
        if not self._waiting:
            self._timer = self.loop.call_later(max(0.0, self._ends_at - time.monotonic()), self._retire)

    def _reap(self) -> None:
        """Reap keepers that have ended, and kill what one leaves that was itself killed: it becomes our child."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            place = self._places.pop(pid, None)
            if place is not None:
                place.tidy()
                if place is self._next:
                    self._next = None
                self._refill()
        for pid in processes.children(os.getpid()):
            if pid not in self._places:
                processes.kill_tree(pid, _KILL_LIMIT)
        if self._is_over and not self._places:
            self.loop.stop()

    def _retire(self) -> None:
        """Be no pool any more; what a run has taken stays as long as that run, and we as its keepers' parent."""
        if self._is_over:
            return  # Told so before its time was over, while a run goes on.
        self._is_over = True
        self.loop.on_read(self._listener.fileno(), None)
        self._listener.close()
        try:
            os.unlink(self._socket)
        except OSError:
            pass  # Somebody has cleared up before us.
        if self._next is not None:
            self._next.end()
        self._reap()


def main() -> None:
    """Take the order from standard input, and be the pool for it."""
    raise_limits()
    order = from_plain(PoolOrder, json.loads(sys.stdin.buffer.readline()))
    log = f"{order.folder}/log"
    pool = WarmPool(order, log)
    print("listening", flush=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for number, file in ((0, nothing), (1, output), (2, output)):
        os.dup2(file, number)
    pool.run()
