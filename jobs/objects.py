"""The store of file contents: each content is kept once, under its SHA-256, for all snapshots.

Snapshots are made of hard links to it, so a person who edits a file of a snapshot edits the stored content
too. Objects are read-only against that, and they carry a fixed modification time: an object with another time,
size or mode is no longer what it was stored as, and a fresh one takes its place. Links to the old one keep it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from .dataclass import dataclass
from .files import private_folder

_STORED_NS = 1_000_000_000 * 10**9  # 2001-09-09; any edit gives a later time
_CHUNK = 1 << 20
_LINK_TRIES = 10
_CANNOT_LINK = frozenset((errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS))


@dataclass(frozen=True)
class StoredFile:
    """A content, and whether it is a program."""

    sha256: str
    size: int
    is_executable: bool

    @property
    def mode(self) -> int:
        """Permissions of the object and of every link to it."""
        return 0o555 if self.is_executable else 0o444


class ObjectStore:
    """The objects under one folder. Several processes may use it at once: all that appears in it appears whole."""

    def __init__(self, root: Path) -> None:
        """Open the store; its folders are made when they are needed."""
        self._objects = root / "objects"
        self._unfinished = root / "unfinished"

    def add(self, file: Path) -> StoredFile:
        """Store a file's content as it is read now. OSError where the file cannot be read or the store not written."""
        private_folder(self._unfinished)
        fd, name = tempfile.mkstemp(dir=self._unfinished)
        temporary = Path(name)
        try:
            with os.fdopen(fd, "wb") as copy, file.open("rb") as content:
                is_executable = bool(os.fstat(content.fileno()).st_mode & 0o111)
                stored = StoredFile(*_copy(_chunks(content, file), copy), is_executable)
            if not self.has(stored):
                self._finish(temporary, stored)
        finally:
            temporary.unlink(missing_ok=True)
        return stored

    def has(self, file: StoredFile) -> bool:
        """Say whether an object is there and as it was stored."""
        try:
            found = self.path(file).lstat()
        except OSError:
            return False
        is_same = (found.st_size, found.st_mtime_ns) == (file.size, _STORED_NS)
        return is_same and stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == file.mode

    def place(self, file: StoredFile, target: Path) -> None:
        """Make `target` a link to an object, or a copy where links are not possible."""
        for _ in range(_LINK_TRIES):
            try:
                os.link(self.path(file), target)
            except FileNotFoundError:
                continue  # somebody has just replaced the object, and the kernel does not link to what is unlinked
            except OSError as error:
                # Another file system, one without links, somebody else's store, or the most links a file can have.
                if error.errno not in _CANNOT_LINK:
                    raise
                break
            else:
                return
        shutil.copyfile(self.path(file), target)
        target.chmod(file.mode)

    def path(self, file: StoredFile) -> Path:
        """Give the place of an object."""
        suffix = "-x" if file.is_executable else ""
        return self._objects / file.sha256[:2] / f"{file.sha256}{suffix}"

    def _finish(self, temporary: Path, file: StoredFile) -> None:
        temporary.chmod(file.mode)
        os.utime(temporary, ns=(_STORED_NS, _STORED_NS))
        path = self.path(file)
        private_folder(path.parent)
        os.replace(temporary, path)


def _chunks(content: IO[bytes], file: Path) -> Iterator[bytes]:
    """Read a file; an error names it, as errors of reading do not by themselves."""
    try:
        while chunk := content.read(_CHUNK):
            yield chunk
    except OSError as error:
        error.filename = error.filename or str(file)
        raise


def _copy(chunks: Iterable[bytes], copy: IO[bytes]) -> tuple[str, int]:
    """Copy and hash in one pass, so that the hash is of what was copied even where somebody writes meanwhile."""
    digest = hashlib.sha256()
    size = 0
    for chunk in chunks:
        digest.update(chunk)
        copy.write(chunk)
        size += len(chunk)
    return digest.hexdigest(), size
