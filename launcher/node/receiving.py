"""Writes down what comes in parts, and never anywhere but where the sender may: it may be anybody by now.

Folders are walked one by one without following links, and what is not allowed is refused, said and counted. So is what
a full disk does not take; whoever sends goes on as if it had been taken, for the job's sake.
"""

from __future__ import annotations

import hashlib
import os
from binascii import Error as NoBase64
from binascii import a2b_base64
from collections.abc import Callable
from pathlib import Path

from regiment.jobs.dataclass import dataclass

from . import folders
from .carrying import listing
from .contentcache import ContentCache
from .parts import Form, Part

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LATEST = 1 << 62
"""Nanoseconds of Unix time: later ones are no time of a file."""
_LONGEST = 4096
"""Characters of a path, as many as the kernel takes bytes."""
_MOST_NAMED = 20
"""Problems that are said in words before they are counted only."""


class Refused(OSError):
    """A part that is not what this sender may send; the message is a sentence."""


@dataclass
class _Growing:
    """A file that grows."""

    size: int
    """What the sender has sent of it."""
    begin: int
    """Where that begins: what was there before is of an earlier life of its node."""
    dropped: int = 0
    """What could not be written."""


@dataclass
class _Unfinished:
    """A file that is not whole yet."""

    path: str
    temporary: str
    folder: int
    file: int
    size: int
    digest: hashlib._Hash


class Receiver:
    """Takes the parts of one sender."""

    def __init__(
        self,
        root: Path,
        base_of: Callable[[Form, tuple[str, ...]], int | None],
        keeps: str = "/",
        cache: ContentCache | None = None,
    ) -> None:
        """Write below `root` only.

        `base_of` is asked about the names of every path, and gives how many of them are the folder that links must not
        lead out of, or None where the sender may not write. Files below `keeps` that were there before are continued.
        What is known by its digest is looked for in the `cache`.
        """
        self._root = root
        self._base_of = base_of
        self._cache = cache
        self._missing: list[str] = []
        self.asked_for: dict[str, str] = {}
        """Known files that are to be kept in the cache when they have come, with their hashes."""
        self._keeps = keeps
        self._growing: dict[str, _Growing] = {}
        self._unfinished: _Unfinished | None = None
        self._taken = 0
        self._problems: list[str] = []
        self.problem_count = 0
        self.files = 0
        """Whole files that have come."""
        self.partial: str | None = None
        """Where a file is that was not whole when its sender was lost."""

    @property
    def taken(self) -> int:
        """The number of the last part that has come."""
        return self._taken

    @property
    def dropped(self) -> int:
        """Give how many bytes of growing files could not be kept."""
        return sum(known.dropped for known in self._growing.values())

    def size_of(self, path: str) -> int:
        """Give how many bytes a growing file has here."""
        known = self._growing.get(path)
        return 0 if known is None else known.begin + known.size - known.dropped

    def take(self, part: Part) -> bool:
        """Write a part down; False for one that had come before."""
        if part.number <= self._taken:
            return False
        self._taken = part.number
        try:
            if self._base_of(part.form, _names(part.path)) is None:
                raise Refused(f"{part.path!r} is none of its files")
            _HANDLERS[part.form](self, part)
        except OSError as error:
            self._has_problem(f"{part.path[:_LONGEST]}: {error.strerror or error}")
        return True

    def problems(self) -> tuple[str, ...]:
        """Give what went wrong since this was asked last."""
        problems, self._problems = tuple(self._problems), []
        return problems

    def missing(self) -> tuple[str, ...]:
        """Give the known files that were not there since this was asked last."""
        missing, self._missing = tuple(self._missing), []
        return missing

    def end(self) -> None:
        """Keep what there is of an unfinished file under a name that says so: its sender is gone."""
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is None:
            return
        try:
            wanted = _in(unfinished.folder, f"{os.path.basename(unfinished.path)}.partial")
            place, _ = folders.free(wanted, wanted, lambda one, other: False)
            os.rename(_in(unfinished.folder, unfinished.temporary), place)
            self.partial = f"{os.path.dirname(unfinished.path)}/{place.name}"
        except OSError as error:
            self._has_problem(f"{unfinished.path}: {error.strerror}")
        finally:
            _close(unfinished)

    def discard(self) -> None:
        """Leave nothing of an unfinished file: it comes from somebody else."""
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None:
            os.unlink(unfinished.temporary, dir_fd=unfinished.folder)
            _close(unfinished)

    def _has_problem(self, text: str) -> None:
        self.problem_count += 1
        if self.problem_count <= _MOST_NAMED:
            self._problems.append(text)

    # --- files that grow ----------------------------------------------------------------------------

    def _grow(self, part: Part) -> None:
        data = _bytes(part.data)
        known = self._growing.get(part.path)
        size = 0 if known is None else known.size
        if part.offset not in (0, size):
            raise Refused(f"a piece for byte {part.offset} came at byte {size}")
        folder = self._folder_of(part.path)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(os.path.basename(part.path), flags, 0o600, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            if known is None or part.offset == 0:
                known = self._begin(part.path, file)
            self._append(part, known, file, data)
            if part.digest is not None:
                _dress(file, part)
        finally:
            os.close(file)

    def _begin(self, path: str, file: int) -> _Growing:
        is_continued = path.startswith(self._keeps) and path not in self._growing
        if not is_continued:
            os.ftruncate(file, 0)
        known = self._growing[path] = _Growing(0, os.fstat(file).st_size)
        return known

    def _append(self, part: Part, known: _Growing, file: int, data: bytes) -> None:
        position = known.begin + known.size - known.dropped
        known.size += len(data)
        left = memoryview(data)
        try:
            while left:
                written = os.pwrite(file, left, position)
                position += written
                left = left[written:]
        except OSError:
            is_first = not known.dropped
            known.dropped += len(left)
            if is_first:
                raise

    # --- files that come whole ----------------------------------------------------------------------

    def _take_piece(self, part: Part) -> None:
        data = _bytes(part.data)
        if part.offset == 0:
            self.end()
            self._unfinished = self._begin_whole(part.path)
        unfinished = self._unfinished
        if unfinished is None or unfinished.path != part.path:
            return  # Its beginning could not be written, which has been said.
        try:
            if part.offset != unfinished.size:
                raise Refused(f"a piece for byte {part.offset} came at byte {unfinished.size}")
            unfinished.digest.update(data)
            unfinished.size += len(data)
            _write_all(unfinished.file, data)
            if part.digest is not None:
                self._complete(unfinished, part)
        except OSError:
            self._unfinished = None
            os.unlink(unfinished.temporary, dir_fd=unfinished.folder)
            _close(unfinished)
            raise

    def _begin_whole(self, path: str) -> _Unfinished:
        folder = self._folder_of(path)
        temporary = f".{os.urandom(6).hex()}.part"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(temporary, flags, 0o600, dir_fd=folder)
        except OSError:
            os.close(folder)
            raise
        return _Unfinished(path, temporary, folder, file, 0, hashlib.sha256())

    def _complete(self, unfinished: _Unfinished, part: Part) -> None:
        if unfinished.digest.hexdigest() != part.digest:
            raise Refused("what came is not what was sent")
        _dress(unfinished.file, part)
        source = _in(unfinished.folder, unfinished.temporary)
        wanted = _in(unfinished.folder, os.path.basename(unfinished.path))
        place, is_there = folders.free(wanted, source, folders.same_content)
        if is_there:
            os.unlink(source)
        else:
            os.rename(source, place)
            if self._cache is not None and part.path in self.asked_for:
                self._cache.keep(place, part)
        self.files += 1
        self._unfinished = None
        _close(unfinished)

    def _see(self, part: Part) -> None:
        if listing(part.data) != part.digest:
            self._missing.append(part.path)

    def _find(self, part: Part) -> None:
        folder = self._folder_of(part.path)
        try:
            if self._cache is None or not self._cache.place(part, _in(folder, os.path.basename(part.path))):
                self.asked_for[part.path] = part.digest or ""
                self._missing.append(part.path)
        finally:
            os.close(folder)

    # --- other things -------------------------------------------------------------------------------

    def _link(self, part: Part) -> None:
        _check_text(part.data)
        names = _names(part.path)
        base = self._base_of(part.form, names)
        if base is None or not _stays_inside(len(names) - 1 - base, part.data):
            raise Refused(f"a link to {part.data!r} would lead out of what it may write")
        folder = self._folder_of(part.path)
        try:
            os.symlink(part.data, os.path.basename(part.path), dir_fd=folder)
        except FileExistsError:
            if not _is_link_to(folder, os.path.basename(part.path), part.data):
                raise
        finally:
            os.close(folder)

    def _make_folder(self, part: Part) -> None:
        os.close(self._folder_of(f"{part.path}/."))

    def _remove(self, part: Part) -> None:
        self._growing.pop(part.path, None)
        folder, name = os.path.split(part.path)
        try:
            opened = self._folder_of(part.path)
            try:
                os.unlink(name, dir_fd=opened)
            finally:
                os.close(opened)
            while "/" in folder:
                os.rmdir(self._root / folder)
                folder = os.path.dirname(folder)
        except OSError:
            pass  # It never came, or its folder holds more.

    def _folder_of(self, path: str) -> int:
        """Open the folder that a path is in, making those that are missing; no link is followed on the way."""
        opened = os.open(self._root, _FOLDER)
        for name in path.split("/")[:-1]:
            try:
                try:
                    inner = os.open(name, _FOLDER, dir_fd=opened)
                except FileNotFoundError:
                    os.mkdir(name, 0o700, dir_fd=opened)
                    inner = os.open(name, _FOLDER, dir_fd=opened)
            finally:
                os.close(opened)
            opened = inner
        return opened


_HANDLERS: dict[Form, Callable[[Receiver, Part], None]] = {
    Form.GROWN: Receiver._grow,
    Form.WHOLE: Receiver._take_piece,
    Form.KNOWN: Receiver._find,
    Form.SEEN: Receiver._see,
    Form.LINK: Receiver._link,
    Form.FOLDER: Receiver._make_folder,
    Form.GONE: Receiver._remove,
}


def _names(path: str) -> tuple[str, ...]:
    if len(path) > _LONGEST:
        raise Refused(f"{path[:40]!r}... is longer than any path")
    names = tuple(path.split("/"))
    _check_text(path)
    if any(name in ("", ".", "..") or len(name) > 255 for name in names):
        raise Refused(f"{path!r} is no path that may be sent")
    return names


def _check_text(text: str) -> None:
    """Refuse what cannot be a name: the kernel would not even be asked about it."""
    try:
        is_good = b"\0" not in os.fsencode(text)
    except UnicodeError:
        is_good = False
    if not is_good:
        raise Refused(f"{text!r} is no name that may be sent")


def _stays_inside(depth: int, target: str) -> bool:
    """Say whether a link leads no further up than so many folders, whatever is in between.

    Every `..` has to come first, where it leads up through real folders: after the name of another link it could lead
    anywhere.
    """
    names = target.split("/")
    up = next((index for index, name in enumerate(names) if name != ".."), len(names))
    return not target.startswith("/") and ".." not in names[up:] and up <= depth


def _is_link_to(folder: int, name: str, target: str) -> bool:
    try:
        return os.readlink(name, dir_fd=folder) == target
    except OSError:
        return False


def _bytes(data: str) -> bytes:
    try:
        return a2b_base64(data)
    except (NoBase64, ValueError):
        raise Refused("a piece that is not in base64") from None


def _dress(file: int, part: Part) -> None:
    """Give a file its permissions, never more than those, and its time."""
    os.fchmod(file, part.mode & 0o777)
    modified = min(max(0, part.modified), _LATEST)
    os.utime(file, ns=(modified, modified))


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _in(folder: int, name: str) -> Path:
    """Give a path to a file in a folder that is open, which nobody can turn into another one meanwhile."""
    return Path(f"/proc/self/fd/{folder}/{name}")


def _close(unfinished: _Unfinished) -> None:
    os.close(unfinished.file)
    os.close(unfinished.folder)
