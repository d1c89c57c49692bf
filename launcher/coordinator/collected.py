"""What several nodes wrote, brought together without one overwriting another."""

from __future__ import annotations

import os
from pathlib import Path

from regiment.jobs.files import private_folder

from ..node.folders import entries_below, same_content
from ..node.scratch import remove


def merge(brought: Path, target: Path, node_id: str) -> list[str]:
    """Merge what a node brought into what those before it have in `target`.

    A path that nobody has yet, or all wrote alike, ends in `target` itself; one that differs (a file where
    another node has a folder, too) under `target/<node_id>/`. Gives the paths that ended there.
    """
    kept = []
    for path in sorted(entries_below(brought), reverse=True):
        relative = path.relative_to(brought)
        _forget_live(path, target / node_id / relative)
        if path.is_dir() and not path.is_symlink():
            _place_folder(path, target / relative)
        elif not _place_file(path, target / relative):
            kept.append(str(_keep_apart(path, target, node_id, relative).relative_to(target)))
    _remove_if_empty(brought)
    return sorted(kept)


def _forget_live(path: Path, live: Path) -> None:
    """Remove the name under which a file was seen while the job ran, where its agent was killed before it did that."""
    if path.is_file() and not live.is_symlink() and live.is_file() and live.samefile(path):
        live.unlink()


def _place_folder(path: Path, destination: Path) -> None:
    if not os.path.lexists(destination) and _parents_are_folders(destination):
        private_folder(destination)
    _remove_if_empty(path)


def _place_file(path: Path, destination: Path) -> bool:
    if not _parents_are_folders(destination):
        return False
    if not os.path.lexists(destination):
        private_folder(destination.parent)
        path.rename(destination)
        return True
    if same_content(path, destination):
        path.unlink()
        return True
    return False


def _keep_apart(path: Path, target: Path, node_id: str, relative: Path) -> Path:
    """Put a file under its node's name; where the job itself took that name, under one with a number."""
    number = 1
    while True:
        folder = target / (node_id if number == 1 else f"{node_id}.{number}")
        destination = folder / relative
        if _parents_are_folders(destination) and not os.path.lexists(destination):
            private_folder(destination.parent)
            path.rename(destination)
            return destination
        number += 1


def _parents_are_folders(path: Path) -> bool:
    """Say whether a file can be made at this path: every part above it that exists is a folder."""
    return path.parent.is_dir() or all(parent.is_dir() or not os.path.lexists(parent) for parent in path.parents)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass  # Something in it could not be moved.


def remove_inputs(data: Path) -> Path | None:
    """Remove what is left of a lost node's inputs; gives the folder of its outputs if there is something in it.

    Its views of the original data went with its last process: no mount of another namespace is ever seen here.
    """
    if not data.is_dir():
        return None
    from ..node.views import mounts_below

    if mounts_below(str(data)):
        return data  # Never expected; but what is shown in there must not be taken for a copy.
    remove(str(data / "inputs"))
    outputs = data / "outputs"
    if any(not path.is_dir() for path in entries_below(outputs)):
        return outputs
    remove(str(data))
    return None
