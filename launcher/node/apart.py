"""A node that does not see the run folder: it works in a folder of its own, which is laid out the same.

So everything on the node reads and writes as it does elsewhere, and only `mirror.py` knows that what is written is
carried to the run folder.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from regiment.jobs.dataclass import replace
from regiment.jobs.workspace import RunFolder

from . import views
from .config import NodeConfig, Sharing


def settled(config: NodeConfig) -> tuple[NodeConfig, str | None]:
    """Find out whether the node sees the run folder; gives a configuration with paths that it can work with.

    And what to say where it can work nowhere.
    """
    sharing = config.sharing
    assert sharing is not None
    try:
        if sharing.hidden:
            _hide(sharing.hidden, os.path.dirname(config.socket))
        if _is_shared(sharing):
            return config, None
        root = _make_root(config.node_id, sharing)
    except OSError as error:
        return config, f"cannot make a folder to work in: {error}"
    own = own_folder(root, sharing.life)

    def moved(path: str) -> str:
        for theirs, ours in ((sharing.run_folder, own.root), (sharing.scratch, own.scratch)):
            if Path(path).is_relative_to(theirs):
                return str(ours / os.path.relpath(path, theirs))
        return path

    config = replace(config, root=root, outputs=moved(config.outputs), logs=moved(config.logs))
    config = replace(config, live_logs=moved(config.live_logs), metrics=moved(config.metrics))
    return replace(config, fetched=moved(config.fetched)), None


def own_folder(root: str, life: int) -> RunFolder:
    """Give the run folder as such a node has it; what it does again, after it was lost, does not mix with the rest."""
    return RunFolder(Path(root, str(life), "run"), Path(root, "scratch"))


def _is_shared(sharing: Sharing) -> bool:
    """Say whether the node finds the coordinator's fresh token in the run folder, and may write there."""
    folder = RunFolder(Path(sharing.run_folder), Path(sharing.scratch))
    try:
        is_there = folder.mark(sharing.token).read_text("ascii") == sharing.token
    except (OSError, ValueError):
        return False
    return is_there and os.access(folder.root, os.W_OK | os.X_OK)


def _make_root(node_id: str, sharing: Sharing) -> str:
    """Make the node's folder, which nobody else can have put there."""
    base = os.environ.get("REGIMENT_NODE_FOLDER") or os.environ.get("TMPDIR") or "/tmp"
    ours = f"{base}/regiment-{os.getuid()}"
    for folder in (ours, f"{ours}/{sharing.token}", f"{ours}/{sharing.token}/{node_id}"):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            found = os.lstat(folder)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
                raise OSError(
                    f"{folder} is not a folder of this user's alone; remove it, or name another place "
                    "for what nodes work with in REGIMENT_NODE_FOLDER"
                ) from None
    return f"{ours}/{sharing.token}/{node_id}"


def _hide(folders: tuple[str, ...], probe: str) -> None:
    """Take folders out of this node's sight, and of that of all it starts: emulated nodes with disks of their own."""
    if not views.enter_own_namespace(probe):
        raise OSError("nodes that are to see different folders need root or user namespaces")
    for folder in folders:
        if os.path.isdir(folder):
            views.cover(folder)
