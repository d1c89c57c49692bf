"""What a node writes comes to the run folder whole and once, whatever becomes of the connection."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from regiment.jobs.plain import from_plain, to_plain
from regiment.launcher.node.channel import Channel
from regiment.launcher.node.loop import Loop
from regiment.launcher.node.mirror import Abandoned, Mirror
from regiment.launcher.node.parts import WINDOW, Part, Taken
from regiment.launcher.node.receiving import Receiver

from ..conftest import GUARD


class Ends:
    """A node's end and the coordinator's, in one loop, with a connection that can be lost."""

    def __init__(self, folder: Path) -> None:
        self.node, self.run = folder / "node", folder / "run"
        self.node.mkdir()
        self.run.mkdir()
        self.loop = Loop()
        self.receiver = Receiver(self.run, lambda form, names: 1)
        self.mirror = Mirror(self.loop, self.node, self._send)
        self.lost = 0
        self.loses_every = 0
        self._parts = 0
        self.is_silent = False
        self._channels: list[Channel] = []
        self.most_waiting = 0
        self.connect()

    def connect(self) -> None:
        """Make a connection, in place of the last one."""
        ours, theirs = socket.socketpair()
        for channel in self._channels:
            channel.close()
        nothing = lambda: None  # noqa: E731
        self._channels = [
            Channel(self.loop, ours, lambda data: self.mirror.take(from_plain(Taken, data)), nothing),
            Channel(self.loop, theirs, lambda data: self._take(from_plain(Part, data)), nothing),
        ]
        self.mirror.connected()

    def work_while(self, work: Callable[[], object]) -> None:
        """Do something that waits, in a thread, while the loop runs."""

        def job() -> None:
            work()
            self.loop.post(self.loop.stop)

        thread = threading.Thread(target=job, daemon=True)
        thread.start()
        self.loop.run()
        thread.join(GUARD)

    def wait_for(self, name: str) -> None:
        """Wait until a file or folder has come as it is; looked at by the loop, so that nothing changes meanwhile."""
        ends_at = time.monotonic() + GUARD

        def look() -> None:
            if contents(self.run / name) == contents(self.node / name):
                self.loop.stop()
                return
            assert time.monotonic() < ends_at
            self.loop.call_later(0.01, look)

        look()
        self.loop.run()

    def finish(self) -> list[str]:
        """Carry everything."""
        problems: list[str] = []

        def finish() -> None:
            problems.extend(self.mirror.finish(self.node / "outputs", self.node / "logs", logs_were_live=True))

        self.work_while(finish)
        return problems

    def close(self) -> None:
        """Give everything back."""
        self.mirror.abandon()
        for channel in self._channels:
            channel.close()
        self.loop.close()

    def _send(self, line: bytes) -> None:
        if self.is_silent:
            return
        self._channels[0].send_line(line)
        self.most_waiting = max(self.most_waiting, self._channels[0].waiting)

    def _take(self, part: Part) -> None:
        is_new = self.receiver.take(part)
        self._parts += is_new
        if is_new and self.loses_every and self._parts % self.loses_every == 0:
            self.lost += 1  # With all that is on the way, in both directions.
            self.loop.post(self.connect)
        else:
            self._channels[1].send(to_plain(Taken(self.receiver.taken, self.receiver.problems())))


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    return Ends(tmp_path)


def fill(folder: Path, files: int = 100) -> None:
    for name in ("attempts/0/azureml-logs/node-1", "outputs/deep", "logs"):
        (folder / name).mkdir(parents=True)
    (folder / "attempts/0/azureml-logs/node-1/70_driver_log_1.txt").write_bytes(os.urandom(1_000_000))
    (folder / "logs/tensorboard").write_bytes(os.urandom(300_000))
    (folder / "outputs/model").write_bytes(os.urandom(500_000))
    for number in range(files):
        (folder / f"outputs/deep/{number}").write_bytes(b"%d" % number)


def contents(folder: Path) -> dict[str, bytes]:
    if folder.is_file():
        return {".": folder.read_bytes()}
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("loses_every", [0, 1, 3])
def test_no_byte_is_lost_or_doubled_when_connections_break(ends: Ends, loses_every: int) -> None:
    fill(ends.node)
    ends.loses_every = loses_every
    assert ends.finish() == []
    assert contents(ends.run) == contents(ends.node)
    assert (ends.lost > 10) == (loses_every > 0)
    ends.close()


def test_what_the_job_changes_where_it_was_sent_already_is_sent_again(ends: Ends) -> None:
    fill(ends.node)
    ends.wait_for("logs/tensorboard")
    with (ends.node / "logs/tensorboard").open("r+b") as file:
        file.write(b"changed")
    assert ends.finish() == []
    assert contents(ends.run) == contents(ends.node)
    ends.close()


def test_files_that_are_replaced_cut_or_removed_are_so_in_the_run_folder(ends: Ends) -> None:
    logs = ends.node / "logs"
    (logs / "deep").mkdir(parents=True)
    for name in ("replaced", "cut", "deep/removed"):
        (logs / name).write_text("a long first text")
    ends.wait_for("logs")
    assert len(contents(ends.run)) == 3
    (logs / "new").write_text("another, and longer than the first")
    (logs / "new").rename(logs / "replaced")
    (logs / "cut").write_text("short")
    (logs / "deep/removed").unlink()
    ends.wait_for("logs")
    assert not (ends.run / "logs/deep").exists()
    ends.close()


def test_nobody_waits_for_a_coordinator_that_never_comes_back(ends: Ends) -> None:
    fill(ends.node)
    (ends.node / "outputs/big").write_bytes(bytes(4 * WINDOW))
    found: list[bool] = []

    def finish() -> None:
        try:
            ends.mirror.finish(ends.node / "outputs", ends.node / "logs", logs_were_live=True)
        except Abandoned:
            found.append(True)

    ends.loop.call_later(0.1, ends.mirror.abandon)
    ends.is_silent = True
    ends.work_while(finish)
    assert found == [True]
    ends.close()


def test_a_hundred_megabytes_of_log_take_the_memory_of_the_window(ends: Ends) -> None:
    log = ends.node / "attempts/0/azureml-logs/70_driver_log.txt"
    log.parent.mkdir(parents=True)
    with log.open("wb") as file:
        for number in range(100):
            file.write(b"%015d\n" % number * 65536)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert ends.finish() == []
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (ends.run / "attempts/0/azureml-logs/70_driver_log.txt").stat().st_size == log.stat().st_size == 100 << 20
    assert ends.most_waiting <= WINDOW + 100_000
    assert grown < 30_000  # Kilobytes; both ends are in this process.
    ends.close()
