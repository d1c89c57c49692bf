"""What a job writes to ./logs, in the run folder while the job runs.

Each file gets a second name there (a hard link): it grows as the job writes, costs no space, and stays whoever is
killed. Where that cannot be (another file system, or one without such links) it is copied, and then what was added.
At the end `folders.collect` finds what is there already and takes the first name away.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from regiment.jobs.dataclass import dataclass
from regiment.jobs.files import private_folder

from . import folders

_INTERVAL = 1.0
"""Seconds between two looks into the job's folder."""
_MOST_OF_TIME = 20.0
"""After a look of a second comes a pause of this many: a folder of very many files must not keep a processor busy."""
_BLOCK = 1 << 20


@dataclass
class _Live:
    """A file of the job's that is in the run folder."""

    place: str
    """Its name there."""
    identity: tuple[int, int]
    """The file's device and inode; another one under the same name is another file."""
    copied: tuple[int, int] | None = None
    """Size and time of change of what was copied; None for a link, which is the file itself."""


class LiveLogs:
    """One node's."""

    def __init__(self, written: Path, target: Path, code: Path, leave_out: frozenset[str]) -> None:
        """`written` is the job's folder, `target` where its files are to be seen; `code` came with the snapshot."""
        self._written = written
        self._target = target
        self._code = code
        self._leave_out = leave_out
        self._files: dict[str, _Live] = {}
        self._unchanged: dict[str, tuple[int, int]] = {}
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, in a thread: a file system may take its time."""
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Look once more, now that nothing can write any more, and never again."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self.look()

    def remove_collected(self) -> None:
        """Take the files out again that have been collected: they come to their own places in the run folder."""
        for path in [path for path in self._files if not os.path.lexists(self._written / path)]:
            self._take_out(self._files.pop(path))

    def _work(self) -> None:
        pause = _INTERVAL
        while not self._over.wait(pause):
            started = time.monotonic()
            self.look()
            pause = max(_INTERVAL, _MOST_OF_TIME * (time.monotonic() - started))

    def look(self) -> None:
        """Bring what is new or has grown, and take out what the job has removed; what cannot be brought waits."""
        seen = set()
        for folder, relative in folders.below(self._written, self._leave_out):
            for name in _files_in(folder, self._leave_out if relative == "." else frozenset()):
                path = os.path.normpath(f"{relative}/{name}")
                seen.add(path)
                try:
                    self._bring(path)
                except OSError:
                    continue  # The job has just removed it, or nobody may read it; the end has the last word.
        for path in self._files.keys() - seen:
            self._take_out(self._files.pop(path))

    def _bring(self, path: str) -> None:
        source = self._written / path
        status = source.lstat()
        identity, state = (status.st_dev, status.st_ino), (status.st_size, status.st_mtime_ns)
        live = self._files.get(path)
        if live is not None and live.identity == identity:
            if live.copied is not None and live.copied != state:
                _copy_more(source, live, state)
            return
        if self._unchanged.get(path) == state:
            return
        if folders.is_unchanged(source, self._code / path):
            self._unchanged[path] = state
            return
        if live is not None:
            self._take_out(self._files.pop(path))
        self._files[path] = self._make_live(source, path, identity)

    def _make_live(self, source: Path, path: str, identity: tuple[int, int]) -> _Live:
        wanted = self._target / path
        private_folder(wanted.parent)
        place, is_there = folders.free(wanted, source, os.path.samefile)
        live = _Live(str(place), identity)
        if is_there:
            return live
        try:
            os.link(source, place)
        except OSError:
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            live.copied = (0, 0)
            status = source.stat()
            _copy_more(source, live, (status.st_size, status.st_mtime_ns))
        return live

    def _take_out(self, live: _Live) -> None:
        """Remove a file, unless somebody has put another in its place, and the folders that are empty then."""
        try:
            status = os.lstat(live.place)
            if live.copied is None and (status.st_dev, status.st_ino) != live.identity:
                return
            os.unlink(live.place)
            folder = os.path.dirname(live.place)
            while folder.startswith(f"{self._target}/"):
                os.rmdir(folder)
                folder = os.path.dirname(folder)
        except OSError:
            pass  # It is gone, or its folder holds more.


def _files_in(folder: str, leave_out: frozenset[str]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [e.name for e in entries if e.name not in leave_out and e.is_file(follow_symlinks=False)]
    except OSError:
        return []  # The job has just removed it.


def _copy_more(source: Path, live: _Live, state: tuple[int, int]) -> None:
    """Copy what was added to a file; all of it, where it was rewritten."""
    assert live.copied is not None
    done = live.copied[0] if state[0] > live.copied[0] else 0
    with source.open("rb") as origin, open(live.place, "r+b") as copy:
        origin.seek(done)
        copy.seek(done)
        left = state[0] - done
        while left and (block := origin.read(min(left, _BLOCK))):
            copy.write(block)
            left -= len(block)
        copy.truncate()
    live.copied = (state[0] - left, state[1])
