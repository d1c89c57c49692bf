"""What a folder's files hashed to last time, so that unchanged ones need not be read again."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

from .files import private_folder
from .objects import StoredFile

# A file that changes twice within one tick of its file system's clock shows no trace of the second change.
# Files this young are hashed again next time (git's "racily clean" entries).
_TOO_YOUNG_NS = 2 * 10**9


class HashMemory:
    """Hashes of one folder's files, by path and by all of a file's state that a change would touch."""

    def __init__(self, store: Path, folder: Path) -> None:
        """Recall what is known; a memory that cannot be read knows nothing."""
        name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32]
        self._path = store / "hashes" / f"{name}.json"
        self._started_ns = time.time_ns()
        self._known: dict[str, list[object]] = {}
        self._new: dict[str, list[object]] = {}
        try:
            known = json.loads(self._path.read_text("ascii"))
            self._known = known if isinstance(known, dict) else {}
        except (OSError, ValueError):
            pass

    def recall(self, path: str, found: os.stat_result) -> StoredFile | None:
        """Give what a file held last time, if it was not touched since."""
        entry = self._known.get(path)
        if not isinstance(entry, list) or len(entry) != 2 or entry[1] != _state(found):
            return None
        self._new[path] = entry
        return StoredFile(str(entry[0]), found.st_size, bool(found.st_mode & 0o111))

    def learn(self, path: str, before: os.stat_result, after: os.stat_result, file: StoredFile) -> None:
        """Remember what a file held, if nobody touched it meanwhile."""
        age = self._started_ns - max(before.st_mtime_ns, before.st_ctime_ns)
        if _state(before) == _state(after) and before.st_size == file.size and age > _TOO_YOUNG_NS:
            self._new[path] = [file.sha256, _state(after)]

    def save(self) -> None:
        """Keep what was recalled and learned; that it cannot be kept costs only time."""
        if self._new == self._known:
            return
        try:
            private_folder(self._path.parent)
            fd, temporary = tempfile.mkstemp(dir=self._path.parent)
        except OSError:
            return
        try:
            with os.fdopen(fd, "w", encoding="ascii") as file:
                json.dump(self._new, file)
            os.replace(temporary, self._path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)


def _state(found: os.stat_result) -> list[int]:
    return [found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
