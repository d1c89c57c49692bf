"""The code folder as it was submitted."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from .dataclass import dataclass
from .errors import UserError
from .files import private_folder
from .hashes import HashMemory
from .ignore import IgnoreRules, read_ignore_rules
from .objects import ObjectStore, StoredFile

_ALWAYS_LEFT_OUT = ".git"

_Identity = tuple[int, int]  # device and inode


@dataclass(frozen=True)
class Snapshot:
    """What was taken."""

    snapshot_id: str
    """A hash over every path with its mode and content: the same folder gives the same id anywhere."""
    file_count: int
    byte_count: int
    notes: tuple[str, ...] = ()
    """What was left out though no rule says so, a sentence each."""


@dataclass(frozen=True)
class _Found:
    """Something of the code folder that belongs into the snapshot."""

    path: str
    """Relative, with slashes."""
    place: Path
    kind: int
    """stat.S_IFREG, S_IFDIR or S_IFLNK."""
    status: os.stat_result | None = None
    link: str = ""
    """What a symbolic link will say."""


def take_snapshot(source: Path, store: Path, target: Path, leave_out: Sequence[Path]) -> Snapshot:
    """Fill `target` (which must not exist, or be empty) with the code folder, or the one file, `source` as it is now.

    Its files are read-only hard links to contents in `store`, where each content is kept once. Left out are what
    `.amlignore`, or else `.gitignore`, says; `.git`; the paths `leave_out` (the workspace); sockets, pipes and
    devices. Symbolic links that stay within the folder stay links, dangling ones too: their target may come with
    the job's data. Those that lead outside are replaced by what they lead to; those that lead to nothing outside
    are left out with a note. Empty folders are kept. `target` appears whole or not at all.
    """
    if not source.exists():
        raise UserError(f"there is no {source} to take the code from; correct 'code'")
    private_folder(target.parent)
    private_folder(store)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        ours = (*leave_out, store, target, unfinished)
        walk = _Walk(source, read_ignore_rules(source), ours) if source.is_dir() else _OneFile(source)
        snapshot = _fill(unfinished, walk, ObjectStore(store), HashMemory(store, source))
        unfinished.chmod(0o755)
        os.replace(unfinished, target)
    except OSError as error:
        raise UserError(_describe(error, source, (store, target.parent), target)) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return snapshot


def _fill(target: Path, walk: _Walk | _OneFile, objects: ObjectStore, memory: HashMemory) -> Snapshot:
    lines: list[bytes] = []
    file_count = byte_count = 0
    for found in walk.run():
        place = target / found.path
        if found.kind == stat.S_IFDIR:
            place.mkdir(parents=True, exist_ok=True)
            lines.append(_line(found.path, "folder", ""))
            continue
        place.parent.mkdir(parents=True, exist_ok=True)  # a folder left out, of which a !pattern brings back a file
        if found.kind == stat.S_IFLNK:
            place.symlink_to(found.link)
            lines.append(_line(found.path, "link", hashlib.sha256(os.fsencode(found.link)).hexdigest()))
            continue
        file = _store(found, objects, memory)
        if file is None:
            walk.notes.append(f"{found.path} was deleted while the snapshot was taken")
            continue
        objects.place(file, place)
        lines.append(_line(found.path, f"{file.mode:o}", file.sha256))
        file_count += 1
        byte_count += file.size
    memory.save()
    snapshot_id = hashlib.sha256(b"".join(sorted(lines))).hexdigest()
    return Snapshot(snapshot_id, file_count, byte_count, tuple(walk.notes))


def _store(found: _Found, objects: ObjectStore, memory: HashMemory) -> StoredFile | None:
    """Make sure that a file's content is in the store; give None where the file is gone."""
    assert found.status is not None
    known = memory.recall(found.path, found.status)
    if known is not None and objects.has(known):
        return known
    try:
        file = objects.add(found.place)
        memory.learn(found.path, found.status, found.place.stat(), file)
    except FileNotFoundError:
        if found.place.exists():
            raise
        return None
    return file


def _describe(error: OSError, source: Path, ours: Sequence[Path], target: Path) -> str:
    where = Path(os.fsdecode(error.filename or target))
    reason = (error.strerror or str(error)).lower()
    if where.is_relative_to(source) and not any(where.is_relative_to(folder) for folder in ours):
        return f"{where} cannot be read: {reason}; make it readable, or leave it out in .amlignore"
    return f"the snapshot of {source} cannot be written to {target}: {reason}, at {where}; correct that"


def _line(path: str, mode: str, content: str) -> bytes:
    return os.fsencode(f"{path}\0{mode} {content}\n")


class _OneFile:
    """The code of a job that is a single file."""

    def __init__(self, source: Path) -> None:
        self.notes: list[str] = []
        self._source = source

    def run(self) -> Iterator[_Found]:
        """Give the file."""
        yield _Found(self._source.name, self._source, stat.S_IFREG, self._source.stat())


class _Walk:
    """The code folder's files, links and folders, those left out not among them, parents before children."""

    def __init__(self, source: Path, rules: IgnoreRules, leave_out: Sequence[Path]) -> None:
        self.notes: list[str] = []
        self._source = source
        self._real_source = Path(os.path.realpath(source))
        self._rules = rules
        self._left_out = frozenset(_identity(path) for path in leave_out if path.exists())

    def run(self) -> Iterator[_Found]:
        """Give everything; what cannot be taken goes to `notes`."""
        # Each folder comes with those it is in, for links that lead back up.
        waiting: list[tuple[str, Path, tuple[_Identity, ...]]] = [("", self._source, (_identity(self._source),))]
        while waiting:
            prefix, folder, above = waiting.pop()
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries)
            for name in names:
                found = self._look(f"{prefix}{name}", folder / name)
                if found is None:
                    continue
                if found.kind != stat.S_IFDIR:
                    if not self._rules.leaves_out(found.path, is_folder=False):
                        yield found
                    continue
                identity = _identity(found.place)
                is_ignored = self._rules.leaves_out(found.path, is_folder=True)
                if identity in self._left_out or (is_ignored and not self._rules.bring_back):
                    continue
                if identity in above:
                    self.notes.append(f"{found.path} leads back to a folder that it is in; left out")
                    continue
                if not is_ignored:
                    yield found
                waiting.append((f"{found.path}/", found.place, (*above, identity)))

    def _look(self, path: str, place: Path) -> _Found | None:
        if place.name == _ALWAYS_LEFT_OUT:
            return None
        try:
            status = place.lstat()
            if stat.S_ISLNK(status.st_mode):
                inside = self._link_inside(path, place)
                if inside is not None:
                    return _Found(path, place, stat.S_IFLNK, link=inside)
                status = place.stat()
        except OSError:  # gone meanwhile, or a link to nothing or to itself
            if not self._rules.leaves_out(path, is_folder=False):
                self.notes.append(f"{path} leads to nothing outside the folder; left out")
            return None
        kind = stat.S_IFMT(status.st_mode)
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            is_left_out = (status.st_dev, status.st_ino) in self._left_out
            return None if is_left_out else _Found(path, place, kind, status)
        if not self._rules.leaves_out(path, is_folder=False):
            self.notes.append(f"{path} is a socket, a pipe or a device; left out")
        return None

    def _link_inside(self, path: str, place: Path) -> str | None:
        """Give the text of a link that stays within the folder; None for one that leads outside."""
        text = str(place.readlink())
        end = Path(os.path.realpath(place))
        if not end.is_relative_to(self._real_source):
            return None
        parent = (self._real_source / path).parent
        # One that says its way through the outside, or stands in a folder that itself came from there, would lead
        # elsewhere from the snapshot.
        is_at_home = os.path.realpath(place.parent) == str(parent)
        leaves = Path(os.path.normpath(Path(path).parent / text)).parts[:1] in (("..",), ("/",))
        if is_at_home and not leaves:
            return text
        return os.path.relpath(end, parent)


def _identity(path: Path) -> _Identity:
    status = path.stat()
    return status.st_dev, status.st_ino
