"""A node's folders: its own copy of the snapshot before the run, what the job wrote after it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from regiment.jobs.files import private_folder


def copy_code(code: Path, target: Path) -> int:
    """Copy the snapshot into a writable folder of the node's own; gives the number of files.

    Never hard links: a job may write into its files, and the snapshot is shared by all runs.
    """
    from shutil import copyfile  # Many jobs have no snapshot, and it takes long to import.

    private_folder(target.parent)
    target.mkdir(mode=0o700)
    count = 0
    for folder, relative in below(code):
        for entry in os.scandir(folder):
            destination = target / relative / entry.name
            if entry.is_symlink():
                destination.symlink_to(os.readlink(entry.path))
            elif entry.is_dir():
                destination.mkdir()
            else:
                copyfile(entry.path, destination)
                # The store's files are read-only; the job's own copy is not.
                destination.chmod(entry.stat().st_mode & 0o777 | 0o600)
                count += 1
    return count


def collect(
    written: Path, target: Path, code: Path | None, leave_out: frozenset[str] = frozenset()
) -> tuple[int, list[str]]:
    """Move what the job wrote below `written` to `target`, but for what came unchanged with the code, if any.

    A file never goes over another that is there already: it gets a number behind its name, unless that one is the
    same (it was brought while the job ran, or uploaded by the job itself). Top-level names in `leave_out` stay. Gives
    the number of files, and what could not be moved and why.
    """
    moved = 0
    problems: list[str] = []
    if not written.is_dir():
        return moved, problems
    private_folder(target)
    for folder, relative in below(written, leave_out):
        try:
            with os.scandir(folder) as found:
                entries = list(found)
        except OSError as error:
            problems.append(f"{relative}: {error.strerror}")
            continue
        for entry in entries:
            if relative == "." and entry.name in leave_out:
                continue
            try:
                original = None if code is None else code / relative / entry.name
                moved += _bring(entry, written, target / relative / entry.name, original)
            except OSError as error:
                problems.append(f"{os.path.normpath(f'{relative}/{entry.name}')}: {error.strerror}")
    return moved, problems


def _bring(entry: os.DirEntry[str], written: Path, destination: Path, original: Path | None) -> int:
    if entry.is_dir(follow_symlinks=False):
        private_folder(destination)
        return 0
    if not entry.is_symlink() and (
        not entry.is_file() or (original is not None and is_unchanged(Path(entry.path), original))
    ):
        return 0
    private_folder(destination.parent)
    destination, is_there = free(destination, Path(entry.path), same_content)
    if is_there:
        os.unlink(entry.path)
    elif entry.is_symlink():
        destination.symlink_to(_moved_link(Path(entry.path), written))
    else:
        move_file(Path(entry.path), destination)
    return 1


def move_file(source: Path, destination: Path) -> None:
    """Move a file; across file systems the copy has its name only when it is complete."""
    try:
        os.rename(source, destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        from shutil import copy2

        unfinished = destination.with_name(f".{destination.name}.part")
        copy2(source, unfinished)
        os.rename(unfinished, destination)


def _moved_link(link: Path, written: Path) -> str:
    """Give a link's target as it has to be after the move: an absolute one into the same folder becomes relative."""
    target = os.readlink(link)
    if os.path.isabs(target) and Path(os.path.normpath(target)).is_relative_to(written):
        return os.path.relpath(target, link.parent)
    return target


def free(path: Path, source: Path, is_same: Callable[[Path, Path], bool]) -> tuple[Path, bool]:
    """Give the path, with a number behind it where there is something else already, and whether `source` is there."""
    number, place = 0, path
    while os.path.lexists(place):
        if is_same(source, place):
            return place, True
        number += 1
        place = path.with_name(f"{path.name}.{number}")
    return place, False


def same_content(one: Path, other: Path) -> bool:
    """Say whether two files hold the same; symbolic links hold their targets' names."""
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and os.readlink(one) == os.readlink(other)
    if not other.is_file() or not one.is_file():
        return False
    if one.samefile(other):
        return True
    if one.stat().st_size != other.stat().st_size:
        return False
    try:
        with one.open("rb") as a, other.open("rb") as b:
            while True:
                block = a.read(1 << 20)
                if block != b.read(1 << 20):
                    return False
                if not block:
                    return True
    except PermissionError:
        return False  # Who cannot compare keeps both.


def is_unchanged(path: Path, original: Path) -> bool:
    """Say whether a file is still as it came with the code."""
    return not original.is_symlink() and original.is_file() and same_content(path, original)


def entries_below(root: Path) -> Iterator[Path]:
    """Give everything below `root`; links are not followed."""
    for folder, _ in below(root):
        try:
            yield from (Path(folder, name) for name in os.listdir(folder))
        except OSError:
            continue  # It has just gone, or its path is too long.


def below(root: Path, leave_out: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """Give every folder below `root`, itself first, with its path relative to `root`; links are not followed."""
    # Not by os.walk, which before Python 3.12 calls itself for each level: a job may write a thousand of them.
    waiting = [(str(root), ".")]
    while waiting:
        folder, relative = waiting.pop()
        yield folder, relative
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # It has just gone, or its path is too long; whoever looks into it finds out.
        left_out = leave_out if relative == "." else ()
        waiting += [
            (f"{folder}/{name}", os.path.normpath(f"{relative}/{name}")) for name in names if name not in left_out
        ]
