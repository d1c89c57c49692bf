"""Contents of files by their hash, which a node keeps from run to run: code changes little, and need not travel again.

Every content is a file of its own that is never written again, so that any number of agents may use the folder at once.
"""

from __future__ import annotations

import os
from pathlib import Path

from .parts import Part

_MOST = 2 * 1024**3
"""Bytes that are kept; what has not been used for longest goes."""
_LEFT = 0.8
"""The part of them that is kept when something has to go: not every run looks through all."""


class ContentCache:
    """One user's on one node."""

    def __init__(self, folder: str, most: int = _MOST) -> None:
        self._folder = folder
        self._most = most
        self._has_new = False

    def place(self, part: Part, place: Path) -> bool:
        """Put a known file in its place; False where its content is not here."""
        path = self._path(part)
        try:
            found = os.lstat(path)
            if found.st_size != part.offset or found.st_uid != os.getuid():
                return False
            os.utime(path)
            os.link(path, place)
        except FileExistsError:
            return True  # It was placed before, for an earlier attempt.
        except OSError:
            return False  # It has just been put away, or this file system has no such links: then it is sent.
        return True

    def keep(self, file: Path, part: Part) -> None:
        """Keep the content of a file that has come whole, and may be nobody's to write any more."""
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            os.link(file, self._path(part))
            os.utime(file)  # When it was used last, and not when the user changed it.
        except OSError:
            return  # Another node of this machine was faster, or it cannot be kept: it will be sent again.
        self._has_new = True

    def tidy(self) -> None:
        """Put away what has not been used for longest, if there is too much."""
        if not self._has_new:
            return
        with os.scandir(self._folder) as entries:
            found = sorted((_looked_at(entry) for entry in entries), reverse=True)
        if sum(size for _, size, _ in found) <= self._most:
            return
        left = self._most * _LEFT
        for _, size, path in found:
            left -= size
            if left < 0:
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass  # Another agent does the same.

    def _path(self, part: Part) -> str:
        return f"{self._folder}/{part.digest}-{part.mode & 0o777:o}"


def _looked_at(entry: os.DirEntry[str]) -> tuple[int, int, str]:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0, 0, entry.path
    return found.st_mtime_ns, found.st_size, entry.path
