"""Copies of a job's inputs, complete in themselves: no link in them leads back to the original."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator

_CHUNK = 64 * 1024 * 1024
"""Bytes between two looks whether the copy is still wanted."""


def copy(source: str, target: str, check: Callable[[], None], *, writable: bool, never: str) -> tuple[int, int]:
    """Copy a file or folder to `target`; gives the number of files and of bytes.

    What is in the folder `never` is left out: the target is in there, and may be in the source as well.

    Links are followed, so that a job that writes into its copy never reaches the original through one. `check`
    is called again and again and ends the copy by raising.
    """
    if os.path.isdir(source):
        return _copy_folder(source, target, check, writable, (_identity(never),))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    return 1, _copy_file(source, target, check, writable)


def _copy_folder(
    source: str, target: str, check: Callable[[], None], writable: bool, above: tuple[tuple[int, int], ...]
) -> tuple[int, int]:
    identity = _identity(source)
    os.makedirs(target)
    files = size = 0
    if identity in above:
        return 0, 0  # A link to a folder it is in, or the copies' own; without this the copy would never end.
    for entry in _entries(source):
        check()
        destination = os.path.join(target, entry.name)
        if entry.is_dir():
            more, bytes_more = _copy_folder(entry.path, destination, check, writable, (*above, identity))
        elif entry.is_file():
            more, bytes_more = 1, _copy_file(entry.path, destination, check, writable)
        elif entry.is_symlink():
            os.symlink(os.readlink(entry.path), destination)  # It leads nowhere, here as there.
            continue
        else:
            continue  # Sockets, pipes and devices are no data.
        files, size = files + more, size + bytes_more
    os.chmod(target, 0o700 if writable else 0o500)
    return files, size


def _identity(folder: str) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries


def _copy_file(source: str, target: str, check: Callable[[], None], writable: bool) -> int:
    size = 0
    with open(source, "rb") as origin, open(target, "xb") as copied:
        while True:
            check()
            try:
                # The kernel copies, and shares the blocks where the file system can.
                count = os.copy_file_range(origin.fileno(), copied.fileno(), _CHUNK)
            except OSError:
                if size:
                    raise
                shutil.copyfileobj(origin, copied, 1024 * 1024)
                size = copied.tell()
                break
            if count == 0:
                break
            size += count
        copied.flush()
        found = os.fstat(origin.fileno())
        mode = stat.S_IMODE(found.st_mode)
        os.fchmod(copied.fileno(), (mode | 0o600) if writable else (mode | 0o400) & ~0o222)
        os.utime(copied.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
    return size
