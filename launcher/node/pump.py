"""Moves what processes print from their pipes into their log files, byte for byte.

It has a thread of its own: a slow or hung disk must not keep the agent from seeing a rank die. A full
disk never reaches the ranks either: their pipes are drained and what cannot be kept is counted.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import threading
import time
from collections.abc import Callable
from pathlib import Path

from regiment.jobs.dataclass import dataclass

_READ_SIZE = 1024 * 1024
_NOTICE_INTERVAL = 0.05
"""Seconds between two notices about one growing log."""


@dataclass
class _Stream:
    """One pipe and the file it goes to."""

    name: str
    pipe: int
    file: int
    size: int
    dropped: int = 0
    told_size: int = 0
    told_at: float = 0.0


class LogPump:
    """Copies any number of pipes to files until each is at its end."""

    def __init__(self, on_growth: Callable[[str, int], None], on_trouble: Callable[[str, str], None]) -> None:
        """Both callbacks are called from the pump's thread, with the stream's name first."""
        self._on_growth = on_growth
        self._on_trouble = on_trouble
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._new: list[_Stream] = []
        self._open = 0
        self._idle = threading.Event()
        self._idle.set()
        self._lock = threading.Lock()
        self._closed = False
        threading.Thread(target=self._work, name="log-pump", daemon=True).start()

    def open(self, name: str, path: Path) -> int:
        """Make a pipe whose other end flows into the file, and give its writing end; the caller closes it."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_end, False)
        try:
            fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, _READ_SIZE)
        except OSError:
            pass  # A user's limit on pipe memory is reached; reads are smaller then, and nothing else.
        stream = _Stream(name, read_end, -1, 0)
        try:
            stream.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            stream.size = stream.told_size = os.fstat(stream.file).st_size
        except OSError as error:
            self._on_trouble(name, f"{path} cannot be written ({error.strerror}); what it would hold is lost")
        with self._lock:
            self._new.append(stream)
            self._open += 1
            self._idle.clear()
        os.write(self._wake_write, b"\0")
        return write_end

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until all pipes are at their end and written down; False if they are not in time."""
        return self._idle.wait(seconds)

    def close(self) -> None:
        """End once all pipes are at their end; there will be no others."""
        self._closed = True
        os.write(self._wake_write, b"\0")

    def _work(self) -> None:
        while not (self._closed and self._idle.is_set()):
            for key, _ in self._selector.select(self._time_to_next_notice()):
                if key.fd == self._wake_read:
                    os.read(self._wake_read, 4096)
                    self._take_new()
                else:
                    self._move(key.data)
            self._give_notices(time.monotonic())
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _take_new(self) -> None:
        with self._lock:
            new, self._new = self._new, []
        for stream in new:
            self._selector.register(stream.pipe, selectors.EVENT_READ, stream)

    def _move(self, stream: _Stream) -> None:
        try:
            data = os.read(stream.pipe, _READ_SIZE)
        except BlockingIOError:
            return
        if data:
            self._write(stream, data)
        else:
            self._finish(stream)

    def _write(self, stream: _Stream, data: bytes) -> None:
        view = memoryview(data)
        while view and stream.file >= 0:
            try:
                written = os.write(stream.file, view)
            except OSError as error:
                if not stream.dropped:
                    self._on_trouble(stream.name, f"its log cannot be written ({error.strerror}); it is not complete")
                break
            stream.size += written
            view = view[written:]
        stream.dropped += len(view)

    def _finish(self, stream: _Stream) -> None:
        self._selector.unregister(stream.pipe)
        os.close(stream.pipe)
        if stream.size != stream.told_size:
            self._on_growth(stream.name, stream.size)
        if stream.dropped:
            self._on_trouble(stream.name, f"{stream.dropped} bytes of its output were not kept")
        if stream.file >= 0:
            os.close(stream.file)
        with self._lock:
            self._open -= 1
            if not self._open:
                self._idle.set()

    def _streams(self) -> list[_Stream]:
        return [key.data for key in self._selector.get_map().values() if key.data is not None]

    def _time_to_next_notice(self) -> float | None:
        due = [stream.told_at + _NOTICE_INTERVAL for stream in self._streams() if stream.size != stream.told_size]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _give_notices(self, now: float) -> None:
        for stream in self._streams():
            if stream.size != stream.told_size and now >= stream.told_at + _NOTICE_INTERVAL:
                stream.told_size, stream.told_at = stream.size, now
                self._on_growth(stream.name, stream.size)
