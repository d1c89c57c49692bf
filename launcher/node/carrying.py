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
