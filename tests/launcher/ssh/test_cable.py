"""A stream whose connections break at any moment: what one end writes the other reads, once and in order."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable

from regiment.launcher.node.loop import Loop
from regiment.launcher.ssh.cable import WINDOW, Cable

BREAKS = 25
SIZE = 3 * WINDOW


class End:
    """A user of one end: writes all it has, and keeps all it reads."""

    def __init__(self, loop: Loop, text: bytes, on_progress: Callable[[], None]) -> None:
        self._loop = loop
        self._left = memoryview(text)
        self._on_progress = on_progress
        self.read = bytearray()
        self.breaks = 0
        self.cable = Cable(loop, on_broken=self._broken)
        self._socket = self.cable.end
        self._socket.setblocking(False)
        loop.on_read(self._socket.fileno(), self._read)
        loop.on_write(self._socket.fileno(), self._write)

    def _broken(self) -> None:
        self.breaks += 1

    def _read(self) -> None:
        self.read += self._socket.recv(1 << 16)
        self._on_progress()

    def _write(self) -> None:
        try:
            self._left = self._left[self._socket.send(self._left) :]
        except BlockingIOError:
            return
        if not self._left:
            self._loop.on_write(self._socket.fileno(), None)

    def end(self) -> None:
        self._loop.on_read(self._socket.fileno(), None)
        self._loop.on_write(self._socket.fileno(), None)
        self._socket.close()
        self.cable.close()


def test_nothing_is_lost_or_doubled_however_often_connections_break() -> None:
    dice = random.Random(7)
    loop = Loop()
    texts = dice.randbytes(SIZE), dice.randbytes(SIZE)
    progress = 0
    wires: list[socket.socket] = []

    def connect() -> None:
        for cable, wire in zip((one.cable, other.cable), socket.socketpair(), strict=True):
            wires.append(wire)
            cable.attach(wire)

    def on_progress() -> None:
        nonlocal progress
        progress += 1
        if len(one.read) == len(other.read) == SIZE:
            loop.stop()
        elif progress % dice.randint(2, 12) == 0 and len(wires) < 2 * BREAKS:
            # As a cut does it: what is on its way is gone, and one end or both may not have heard of it.
            if dice.random() < 0.5:
                one.cable.detach()
            connect()

    one, other = End(loop, texts[0], on_progress), End(loop, texts[1], on_progress)
    connect()
    loop.run()
    assert len(wires) > 10
    assert (bytes(one.read), bytes(other.read)) == (texts[1], texts[0])
    for end in (one, other):
        end.end()
    loop.close()


def test_an_end_of_another_stream_is_not_taken_for_its_own() -> None:
    loop = Loop()
    ends = [Cable(loop, loop.stop) for _ in range(2)]
    ours, theirs = socket.socketpair()
    ends[0].attach(ours)
    theirs.sendall(b"R" + (1 << 40).to_bytes(8, "big"))
    loop.run()
    assert not ends[0].is_connected
    theirs.close()
    for cable in ends:
        cable.end.close()
        cable.close()
    loop.close()
