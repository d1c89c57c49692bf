"""Carries to the run folder what a node writes that does not see it: logs as they grow, everything else at the end.

What is written lies on the node's own disk, and a thread takes it from there as fast as the connection goes. So ranks
never wait for a network, however slow, and what is on the way takes the same memory however much has been printed.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from regiment.jobs.dataclass import dataclass
from regiment.jobs.plain import to_plain

from . import folders
from .carrying import digest_of, ended, parts_of, text_of
from .loop import Loop
from .parts import PIECE, Form, Outflow, Part, Taken

_INTERVAL = 0.1
"""Seconds between two looks at what has grown."""
_MOST_OF_TIME = 5.0
"""After a look of a second comes a pause of this many: a folder of very many files must not keep a processor busy."""
_TURN = 16
"""Pieces of one file after which it is the others' turn."""
_KEPT_BACK = frozenset({"code", "inputs", "collected", "outputs"})
"""What is not looked at while the job runs: it came from the coordinator, or is whole only at the end."""


@dataclass
class _Growing:
    """A file that is carried while it grows."""

    identity: tuple[int, int]
    """Its device and inode; another one under the same name is another file."""
    sent: int = 0
    digest: hashlib._Hash | None = None
    """Of what was sent; only of files that the job can change where they have been sent already."""


class Abandoned(Exception):
    """Nobody takes anything any more."""


class Mirror:
    """One node's; `take` and `connected` are called from the loop, everything else from threads that may wait."""

    def __init__(self, loop: Loop, root: Path, send_line: Callable[[bytes], None]) -> None:
        """`root` is the run folder as the node has it."""
        self._loop = loop
        self._root = root
        self._changed = threading.Condition()
        self._outflow = Outflow(send_line)
        self._growing: dict[str, _Growing] = {}
        self._problems: list[str] = []
        self._is_abandoned = False
        self._is_posted = False
        self._looks = 0
        self._wanted = False
        self._ends = False
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
        self._thread.start()

    # --- called from the loop -----------------------------------------------------------------------

    def connected(self) -> None:
        """Go on where the last connection was lost, if this is not the first."""
        with self._changed:
            self._outflow.again()

    def take(self, message: Taken) -> None:
        """Hear how far the other side is."""
        with self._changed:
            self._outflow.taken(message.number)
            self._problems += message.problems
            self._changed.notify_all()

    def look_soon(self) -> None:
        """Look for what has grown now, and not after a while."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Let whoever waits for something to be taken go on: the coordinator will never come back."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()

    # --- called from other threads ------------------------------------------------------------------

    def catch_up(self, seconds: float) -> bool:
        """Wait until all that is there now has been sent; False where it takes longer."""
        deadline = time.monotonic() + seconds
        with self._changed:
            aim, self._wanted = self._looks + 2, True
            self._changed.notify_all()
            while self._looks < aim and not self._is_abandoned:
                if not self._changed.wait(deadline - time.monotonic()):
                    return False
                self._wanted = True
        return True

    def finish(self, outputs: Path, logs: Path, *, logs_were_live: bool) -> list[str]:
        """Send the rest and what was collected, and wait until it has been taken; gives what could not be.

        Raises Abandoned where nobody takes it any more.
        """
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        self._thread.join()
        seen = sorted(self._files_that_grow())
        for path in seen:
            self._grow(path, is_final=True)
        say = self._problems.append
        for part in parts_of(outputs, self._root, say):
            self._put(part)
        for part in parts_of(logs, self._root, say, _nothing if logs_were_live else None):
            self._put(part)
        self._take_away(set(seen))
        with self._changed:
            while not self._outflow.is_empty:
                self._wait()
            return self._problems

    # --- while it grows -----------------------------------------------------------------------------

    def _work(self) -> None:
        pause = _INTERVAL
        while True:
            with self._changed:
                if not (self._wanted or self._ends):
                    self._changed.wait(pause)
                self._wanted = False
                if self._ends or self._is_abandoned:
                    return
            began = time.monotonic()
            try:
                self._look()
            except Abandoned:
                return
            pause = max(_INTERVAL, _MOST_OF_TIME * (time.monotonic() - began))

    def _look(self) -> None:
        seen = set(self._files_that_grow())
        more = [path for path in sorted(seen) if self._grow(path)]
        self._take_away(seen)
        with self._changed:
            self._wanted = self._wanted or bool(more)
            if not more:
                self._looks += 1
            self._changed.notify_all()

    def _take_away(self, seen: set[str]) -> None:
        for path in sorted(self._growing.keys() - seen):
            del self._growing[path]
            self._put(Part(0, path, Form.GONE))

    def _files_that_grow(self) -> Iterator[str]:
        for folder, relative in folders.below(self._root, _KEPT_BACK):
            try:
                with os.scandir(folder) as entries:
                    names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
            except OSError:
                continue
            yield from (os.path.normpath(f"{relative}/{name}") for name in names)

    def _grow(self, path: str, *, is_final: bool = False) -> bool:
        """Send what has been added to a file; gives whether there is more."""
        try:
            with open(self._root / path, "rb", buffering=0, opener=_without_following) as file:
                return self._send_grown(path, file.fileno(), is_final=is_final)
        except OSError as error:
            if is_final:
                self._problems.append(f"{path}: {error.strerror}")
            return False  # The job has just removed it, or nobody may read it.

    def _send_grown(self, path: str, file: int, *, is_final: bool) -> bool:
        found = os.fstat(file)
        identity = (found.st_dev, found.st_ino)
        known = self._growing.get(path)
        if known is None or known.identity != identity or known.sent > found.st_size:
            known = self._growing[path] = _Growing(identity, digest=_new_digest(path))
        elif is_final and known.digest is not None and digest_of(file, known.sent) != known.digest.digest():
            known = self._growing[path] = _Growing(identity, digest=_new_digest(path))  # Changed where it was sent.
        elif known.sent == found.st_size and not is_final:
            return False
        pieces = 0
        while pieces < _TURN or is_final:
            data = os.pread(file, PIECE, known.sent)
            ends = is_final and len(data) < PIECE
            has_end = ends and known.digest is not None
            if data or has_end or known.sent == 0:
                self._put_grown(path, known, data, found if has_end else None)
            if len(data) < PIECE:
                return False
            pieces += 1
        return True

    def _put_grown(self, path: str, known: _Growing, data: bytes, found: os.stat_result | None) -> None:
        if known.digest is not None:
            known.digest.update(data)
        offset, known.sent = known.sent, known.sent + len(data)
        part = Part(0, path, Form.GROWN, offset, text_of(data))
        self._put(part if found is None or known.digest is None else ended(part, known.digest, found))

    # --- on its way ---------------------------------------------------------------------------------

    def _put(self, part: Part) -> None:
        plain: dict[str, Any] = to_plain(part)
        with self._changed:
            while not self._outflow.has_room:
                self._wait()
            self._outflow.add(plain)
            is_posted, self._is_posted = self._is_posted, True
        if not is_posted:
            self._loop.post(self._flush)

    def _flush(self) -> None:
        with self._changed:
            self._is_posted = False
            self._outflow.flush()

    def _wait(self) -> None:
        if self._is_abandoned:
            raise Abandoned
        self._changed.wait()


def _new_digest(path: str) -> hashlib._Hash | None:
    """Give what to hash a file with whose beginning the job can change; what we write is only ever added to."""
    return hashlib.sha256() if path.startswith("logs/") else None


def _without_following(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _nothing(path: str, source: str) -> tuple[Part, ...]:
    return ()
