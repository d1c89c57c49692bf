"""Where the index of a workspace lies: in it or, where that is on a network, on a disk of this machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from regiment.jobs.workspace import Workspace

_LOCAL = frozenset("aufs bcachefs btrfs ext2 ext3 ext4 f2fs jfs overlay ramfs reiserfs rootfs tmpfs xfs zfs".split())
"""Types of file systems that are this machine's alone; SQLite's locks and writes can be trusted on no others."""
_NAME = "index.sqlite"


def index_path(workspace: Workspace) -> Path | None:
    """Give the index's place; None where this machine has no disk of its own for it."""
    mounts = _mounts()
    if is_local(workspace.root, mounts):
        return workspace.root / _NAME
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "regiment"
    if not is_local(cache, mounts):
        return None
    digest = hashlib.sha256(os.fsencode(os.path.realpath(workspace.root))).hexdigest()[:32]
    return cache / digest / _NAME


def is_local(folder: Path, mounts: dict[str, str]) -> bool:
    """Say whether a folder, which need not exist, is on a file system of this machine; `mounts` has their types."""
    path = os.path.realpath(folder)
    while path not in mounts and path != "/":
        path = os.path.dirname(path)  # noqa: PTH120  (a plain string, as the mounts are)
    return mounts.get(path) in _LOCAL


def _mounts() -> dict[str, str]:
    """Give the type of each mounted file system by where it is mounted: the one on top, where several are."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return {}
    return dict(map(_mount, lines))


def _mount(line: bytes) -> tuple[str, str]:
    """Read a line of mountinfo (proc(5)): the fifth field is the place, the first after a lone dash the type."""
    place, _, rest = line.partition(b" - ")
    # Blanks and the like are written in octal.
    name = place.split(b" ")[4].decode("unicode_escape").encode("latin-1")
    return os.fsdecode(name), rest.split(b" ")[0].decode("ascii", "replace")
