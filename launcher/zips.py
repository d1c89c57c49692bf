"""Zips of a run's files."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from regiment.jobs.errors import UserError

if TYPE_CHECKING:
    from .artifacts import Artifact

CHUNK = 1 << 20
"""Bytes that are copied at a time."""
UNFINISHED = ".regiment-part-"
"""How the name of a file begins that is still being written."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip can hold; a snapshot's files have none of their own."""

Progress = Callable[[int], None]
"""Hears of every few bytes that were brought."""


def zip_files(found: Iterable[Artifact], target: Path, progress: Progress | None = None) -> Path:
    """Write a run's files into one zip, under their names; gives its path."""

    def fill(archive: Zip) -> None:
        for artifact in found:
            archive.add(artifact.name, artifact.place, progress)

    return write_zip(target, fill)


def write_zip(target: Path, fill: Callable[[Zip], None]) -> Path:
    """Write a zip that has its name only when it is whole; gives its path."""
    unfinished = target.with_name(f"{UNFINISHED}{os.getpid()}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with Zip(unfinished) as archive:
                fill(archive)
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}, at {error.filename}; correct that") from None
    return target


class Zip:
    """A zip being written; the same files give the same bytes."""

    def __init__(self, path: Path) -> None:
        import zipfile  # Few who look at artifacts want one, and it takes longer to import than all of this.

        self._info = zipfile.ZipInfo
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)

    def __enter__(self) -> Zip:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def add(self, name: str, place: Path, progress: Progress | None, *, links: bool = False) -> None:
        """Add a file, an empty folder's name, or (where `links` are wanted) a symbolic link as such."""
        status = place.lstat() if links else place.stat()
        is_folder = stat.S_ISDIR(status.st_mode)
        name = os.fsencode(name).decode("utf-8", "replace")  # Names in a zip are UTF-8.
        info = self._info(f"{name}/" if is_folder else name, _EPOCH)
        info.external_attr = (status.st_mode | stat.S_IWUSR) << 16
        info.compress_type = self._archive.compression
        if is_folder:
            self._archive.writestr(info, b"")
        elif stat.S_ISLNK(status.st_mode):
            self._archive.writestr(info, os.fsencode(place.readlink()))
        else:
            with place.open("rb") as origin, self._archive.open(info, "w", force_zip64=True) as copy:
                while block := origin.read(CHUNK):
                    copy.write(block)
                    if progress is not None:
                        progress(len(block))
