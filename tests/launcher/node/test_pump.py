"""The log pump: every byte, however it comes, and no harm to the process where the disk is full."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from regiment.launcher.node.pump import LogPump

GUARD = 60.0
"""Seconds after which what is waited for never comes."""


class Listener:
    def __init__(self) -> None:
        self.sizes: list[tuple[str, int]] = []
        self.trouble: list[str] = []
        self.grown = threading.Event()
        self.pump = LogPump(self._on_growth, lambda _, what: self.trouble.append(what))

    def _on_growth(self, name: str, size: int) -> None:
        self.sizes.append((name, size))
        self.grown.set()


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond 100,000 bytes: the next best thing to a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_many_pipes_at_once_end_byte_exact_in_their_files(tmp_path: Path) -> None:
    listener = Listener()
    contents = {str(n): os.urandom(300_000 + n) for n in range(8)}

    def write(fd: int, data: bytes) -> None:
        with os.fdopen(fd, "wb") as file:
            file.write(data)

    threads = [
        threading.Thread(target=write, args=(listener.pump.open(name, tmp_path / name), data))
        for name, data in contents.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert listener.pump.wait_until_idle(GUARD)
    for name, data in contents.items():
        assert (tmp_path / name).read_bytes() == data
        assert max(size for who, size in listener.sizes if who == name) == len(data)


def test_notices_of_growth_come_soon_and_not_with_every_write(tmp_path: Path) -> None:
    listener = Listener()
    fd = listener.pump.open("0", tmp_path / "log")
    os.write(fd, b"line\n")
    assert listener.grown.wait(GUARD)  # while the pipe is open still, and nothing else comes
    started = time.monotonic()
    for _ in range(199):
        os.write(fd, b"line\n")
        time.sleep(0.001)
    os.close(fd)
    assert listener.pump.wait_until_idle(GUARD)
    took = time.monotonic() - started
    assert listener.sizes[-1] == ("0", 1000)
    assert len(listener.sizes) <= 3 + 20 * took  # the first, the last, and twenty a second between them


def test_a_full_disk_never_reaches_the_process_and_what_was_lost_is_counted(tmp_path: Path, small_files: None) -> None:
    listener = Listener()
    fd = listener.pump.open("0", tmp_path / "log")
    program = "import sys\nfor _ in range(3000): print('x' * 99)\nsys.exit(5)"
    child = subprocess.Popen([sys.executable, "-c", program], stdout=fd)
    os.close(fd)
    assert child.wait(GUARD) == 5
    assert listener.pump.wait_until_idle(GUARD)
    assert (tmp_path / "log").stat().st_size == 100_000
    assert listener.trouble[0].startswith("its log cannot be written")
    assert listener.trouble[-1] == "200000 bytes of its output were not kept"


def test_a_log_that_cannot_be_opened_is_told_and_the_output_is_drained(tmp_path: Path) -> None:
    listener = Listener()
    fd = listener.pump.open("0", tmp_path / "no" / "log")
    os.write(fd, b"x" * 50_000)
    os.close(fd)
    assert listener.pump.wait_until_idle(GUARD)
    assert "cannot be written" in listener.trouble[0]
