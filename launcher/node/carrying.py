"""Files and folders turned into parts."""

from __future__ import annotations

import hashlib
import os
import stat
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from regiment.jobs.dataclass import replace

from . import folders
from .parts import PIECE, Form, Part

_MOST_LISTED = 20_000
"""Files after which a folder is taken for the one that it looks like."""


def parts_of(
    top: Path,
    root: Path,
    on_problem: Callable[[str], None],
    pieces: Callable[[str, str], Iterable[Part]] | None = None,
) -> Iterator[Part]:
    """Give a folder with all that is in it, as it is to be below `root`, in parts that have no number yet.

    `on_problem` hears what cannot be read; `pieces` says what becomes of a file if not all its pieces.
    """
    if not top.is_dir():
        return
    for folder, relative in folders.below(top):
        place = os.path.relpath(Path(top, relative), root)
        yield Part(0, place, Form.FOLDER)
        try:
            with os.scandir(folder) as entries:
                found = sorted((entry for entry in entries if not entry.is_dir(follow_symlinks=False)), key=_name)
        except OSError as error:
            on_problem(f"{place}: {error.strerror}")
            continue
        for entry in found:
            path = f"{place}/{entry.name}"
            try:
                if entry.is_symlink():
                    yield Part(0, path, Form.LINK, data=os.readlink(entry.path))
                elif entry.is_file():
                    yield from (pieces or pieces_of)(path, entry.path)
            except OSError as error:
                on_problem(f"{path}: {error.strerror}")


def pieces_of(path: str, source: str) -> Iterator[Part]:
    """Give a file in pieces; raises OSError."""
    digest, offset = hashlib.sha256(), 0
    with open(source, "rb", buffering=0) as file:
        while True:
            data = file.read(PIECE)
            digest.update(data)
            part = Part(0, path, Form.WHOLE, offset, text_of(data))
            offset += len(data)
            if len(data) < PIECE:
                yield ended(part, digest, os.fstat(file.fileno()))
                return
            yield part


def known(path: str, source: str) -> Iterator[Part]:
    """Give a file by its digest alone; raises OSError."""
    with open(source, "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        digest = digest_of(file.fileno(), found.st_size).hex()
    yield Part(0, path, Form.KNOWN, found.st_size, digest=digest, mode=stat.S_IMODE(found.st_mode))


def files_of(source: str, path: str) -> Iterator[Part]:
    """Give a file or folder of data, complete in itself: what links lead to takes their place; raises OSError."""
    if not os.path.isdir(source):
        yield from pieces_of(f"{path}/{os.path.basename(source)}", source)
        return
    for folder, place, names in _walked(source):
        yield Part(0, os.path.normpath(f"{path}/{place}"), Form.FOLDER)
        for name in names:
            yield from pieces_of(os.path.normpath(f"{path}/{place}/{name}"), f"{folder}/{name}")


def listing(source: str) -> str | None:
    """Give a hash of what a file or folder looks like: names, sizes and times; None where there is nothing.

    Of a folder with very many files the first ones count.
    """
    digest, count = hashlib.sha256(), 0
    if os.path.isfile(source):
        digest.update(_look(source))
        return digest.hexdigest()
    if not os.path.isdir(source):
        return None
    for folder, place, names in _walked(source):
        digest.update(f"{place}/\n".encode("utf-8", "surrogateescape"))
        for name in names:
            digest.update(_look(f"{folder}/{name}"))
            count += 1
        if count >= _MOST_LISTED:
            break
    return digest.hexdigest()


def _look(path: str) -> bytes:
    try:
        found = os.stat(path)
    except OSError:
        return b"-"
    name = os.path.basename(path).encode("utf-8", "surrogateescape")
    return b"%s\0%d %d\n" % (name, found.st_size, found.st_mtime_ns)


def _walked(source: str) -> Iterator[tuple[str, str, list[str]]]:
    """Give every folder, links followed, with its path relative to the first and its files' names, in order."""
    waiting: list[tuple[str, str, tuple[tuple[int, int], ...]]] = [(source, ".", ())]
    while waiting:
        folder, place, above = waiting.pop()
        found = os.stat(folder)
        identity = (found.st_dev, found.st_ino)
        if identity in above:
            continue  # A link to a folder it is in: without this there would be no end.
        with os.scandir(folder) as entries:
            kept = sorted((entry for entry in entries if entry.is_dir() or entry.is_file()), key=_name)
        yield folder, place, [entry.name for entry in kept if not entry.is_dir()]
        inner = (entry for entry in reversed(kept) if entry.is_dir())
        waiting += [(entry.path, f"{place}/{entry.name}", (*above, identity)) for entry in inner]


def ended(part: Part, digest: hashlib._Hash, found: os.stat_result) -> Part:
    """Give the last part of a file."""
    return replace(part, digest=digest.hexdigest(), mode=stat.S_IMODE(found.st_mode), modified=found.st_mtime_ns)


def digest_of(file: int, size: int) -> bytes:
    """Hash the beginning of an open file."""
    digest, done = hashlib.sha256(), 0
    while done < size and (data := os.pread(file, min(PIECE, size - done), done)):
        digest.update(data)
        done += len(data)
    return digest.digest()


def text_of(data: bytes) -> str:
    """Give bytes as a message holds them."""
    return b2a_base64(data, newline=False).decode("ascii")


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
