"""A node's inputs: brought to where the job finds them before the start, taken away at the end.

All of it runs in the agent's preparing thread. Downloads are processes of their own, so that the sweep which
ends a run's processes ends them too; between the pieces of a copy the thread looks whether it is still wanted.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping

from regiment.distribution.data import DataPlan, InputPlan
from regiment.jobs.data import DataMode
from regiment.jobs.dataclass import dataclass
from regiment.jobs.locations import file_name, is_http, scheme, shown

from . import copies, scratch, views
from .fetch import ORDER
from .spawn import CannotStart, spawn

_LINKS_LOOKED_AT = 2000
"""Entries of a folder that are looked at for links out of it; a big set of data is not walked through for that."""
_LOOK_INTERVAL = 0.1
"""Seconds between looks whether another node of this machine has finished a download."""


class CannotBring(OSError):
    """An input cannot be brought to the node; the message is a sentence for the user."""


@dataclass(frozen=True)
class Fetchers:
    """How downloads are started."""

    own_argv: tuple[str, ...]
    """Starts the fetcher with the standard library only, for http."""
    jobs_argv: tuple[str, ...]
    """Starts it with the job's Python and its packages, for everything else."""
    environ: Mapping[str, str]
    """The job's environment: it has the user's proxies and keys."""
    folder: str
    """Where what was fetched lies, once for all nodes of this machine."""


class Inputs:
    """Brings a node's inputs."""

    def __init__(
        self,
        plan: DataPlan,
        fetchers: Fetchers,
        has_views: bool,
        log: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        """`log` gets what was done, `warn` what the person should know; both are called from the thread."""
        self._plan = plan
        self._fetchers = fetchers
        self._has_views = has_views
        self._log = log
        self._warn = warn
        self._abandoned = False

    def abandon(self) -> None:
        """Let the bringing end soon; called from another thread."""
        self._abandoned = True

    def make(self) -> None:
        """Bring every input to its place and make every output's folder; raises OSError."""
        for output in self._plan.outputs:
            os.makedirs(output.folder, exist_ok=True)
        for item in self._plan.inputs:
            if item.mode is DataMode.DIRECT:
                self._log(f"input {item.name!r}: the job gets {shown(item.source)} as it is")
                continue
            source = item.source if scheme(item.source) is None else self._fetched(item)
            self._check_kind(item, source)
            # An earlier life of this node may have been lost in the middle of bringing it.
            scratch.remove(os.path.dirname(item.path) if item.is_file else item.path)
            self._place(item, os.path.realpath(source))

    def remove(self) -> None:
        """Take the node's data folder away, and never what is shown in it."""
        folder = self._plan.folder
        if not os.path.isdir(folder):
            return
        for point in reversed(views.mounts_below(folder)):
            views.unmount(point)
        if not views.mounts_below(folder):
            scratch.remove(folder)

    # --- to its place -------------------------------------------------------------------------------

    def _check_kind(self, item: InputPlan, source: str) -> None:
        if not os.path.exists(source):
            raise CannotBring(f"input {item.name!r}: there is no {source} on this node")
        if os.path.isdir(source) == item.is_file:
            found, wanted = ("folder", "file") if item.is_file else ("file", "folder")
            raise CannotBring(f"input {item.name!r}: {source} is a {found}, but its type asks for a {wanted}")

    def _place(self, item: InputPlan, source: str) -> None:
        os.makedirs(os.path.dirname(item.path), exist_ok=True)
        if item.mode is DataMode.READ_ONLY_MOUNT and self._has_views:
            if item.is_file:
                os.close(os.open(item.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400))
            else:
                os.mkdir(item.path)
                self._look_at_links(item, source)
            views.mount_view(source, item.path)
            self._log(f"input {item.name!r}: {source} is shown read-only at {item.path}")
            return
        files, size = copies.copy(
            source,
            item.path,
            self._check_wanted,
            writable=item.mode is DataMode.DOWNLOAD,
            never=os.path.dirname(self._plan.folder),
        )
        self._log(f"input {item.name!r}: copied {files} files, {size} bytes, from {source} to {item.path}")

    def _look_at_links(self, item: InputPlan, source: str) -> None:
        link = _link_leading_out(source)
        if link is not None:
            self._warn(
                f"input {item.name!r}: {link} and perhaps more are relative links out of {source}, which lead nowhere "
                "in a mounted view; use mode: download or mode: direct"
            )

    def _check_wanted(self) -> None:
        if self._abandoned:
            raise CannotBring("the run is being stopped")

    # --- downloads ----------------------------------------------------------------------------------

    def _fetched(self, item: InputPlan) -> str:
        """Give the local path of what a URL leads to, downloading it if no node of this machine has yet."""
        import hashlib  # It loads OpenSSL, which no other job needs.

        key = hashlib.sha256(f"{item.source}\0{item.is_file}".encode()).hexdigest()[:16]
        folder = f"{self._fetchers.folder}/{key}"
        os.makedirs(self._fetchers.folder, mode=0o700, exist_ok=True)
        with open(f"{folder}.lock", "w", encoding="ascii") as lock:
            self._wait_for(lock.fileno())
            if not os.path.isdir(folder):
                self._fetch(item, folder)
            else:
                self._log(f"input {item.name!r}: another node of this machine has {shown(item.source)} already")
        return f"{folder}/{file_name(item.source)}" if item.is_file else folder

    def _wait_for(self, lock: int) -> None:
        while True:
            self._check_wanted()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(_LOOK_INTERVAL)

    def _fetch(self, item: InputPlan, folder: str) -> None:
        partial = f"{folder}.part"
        scratch.remove(partial)
        os.mkdir(partial)
        # A web server has no folders to list: as a folder such an input is one with that file in it.
        is_file = item.is_file or is_http(item.source)
        target = f"{partial}/{file_name(item.source)}" if is_file else partial
        self._log(f"input {item.name!r}: downloading {shown(item.source)}")
        self._run_fetcher(item, {"url": item.source, "target": target, "isFile": is_file})
        os.rename(partial, folder)

    def _run_fetcher(self, item: InputPlan, order: dict[str, object]) -> None:
        fetchers = self._fetchers
        argv = fetchers.own_argv if is_http(item.source) else fetchers.jobs_argv
        reader, writer = os.pipe2(os.O_CLOEXEC)
        with open(reader, encoding="utf-8", errors="replace") as lines:
            try:
                pid = spawn(argv, {**fetchers.environ, ORDER: json.dumps(order)}, writer)
            except CannotStart as error:
                raise CannotBring(str(error)) from None
            finally:
                os.close(writer)
            if self._abandoned:
                # The sweep that ends the run's processes may have passed before this one was there.
                os.kill(pid, 9)
            last = ""
            for line in lines:
                last = self._heard(item, line.rstrip()) or last
        # Its wait status goes to whoever reaps the agent's children; only its own last word counts.
        if last != "done":
            raise CannotBring(f"input {item.name!r}: {last or f'fetching {shown(item.source)} ended without a word'}")

    def _heard(self, item: InputPlan, line: str) -> str:
        """Log what a fetcher says; gives `done`, or what went wrong, or nothing."""
        try:
            words = json.loads(line)
        except ValueError:
            words = None
        if not isinstance(words, dict):
            self._log(f"input {item.name!r}: {line}")
            return ""
        if "progress" in words:
            total = f" of {words['total']}" if words.get("total") else ""
            self._log(f"input {item.name!r}: {words['progress']}{total} bytes")
            return ""
        if "done" in words:
            self._log(f"input {item.name!r}: downloaded {words['done']} bytes in {words.get('seconds')} s")
            return "done"
        return str(words.get("error", ""))


def _link_leading_out(root: str) -> str | None:
    """Give a relative link among a folder's first entries that leads out of it; in a view it leads elsewhere."""
    looked_at = 0
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path) and not os.path.isabs(os.readlink(path)):
                target = os.path.normpath(os.path.join(folder, os.readlink(path)))
                if not f"{target}/".startswith(f"{root.rstrip('/')}/"):
                    return os.path.relpath(path, root)
            looked_at += 1
            if looked_at >= _LINKS_LOOKED_AT:
                return None
    return None
