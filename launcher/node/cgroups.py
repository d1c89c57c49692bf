"""Control groups: what the kernel counts in this process's own, and one for each node of a run, where that may be had.

A group of version 2 can be killed whole (Linux 5.14 and newer), with everything that forks meanwhile. It is made below
this process's own group. Root may do that, and a user whose group is delegated to him; in most containers and under
Slurm nobody may, and then there is none: the other ways of finding a run's processes don't need it.
"""

from __future__ import annotations

import os
import time

from regiment.distribution.circumstances import Memory

_REMOVAL_LIMIT = 0.5
"""Seconds after which a group stays in which something still lives: it cannot be killed, or dies too slowly."""
_NO_LIMIT = 1 << 60
"""Version 1 writes a number as large as this for no limit."""


class NodeGroup:
    """The group of one node's agent and of everything it starts; its keeper stays outside, and removes it."""

    def __init__(self, tag: str) -> None:
        own = _own_folder("cgroup2", "")
        self._outside = own
        self._folder = None if own is None else f"{own}/regiment-{tag}"

    def make(self, agent: int) -> None:
        """Make the group and put the agent into it; does nothing where that isn't allowed."""
        if self._folder is None:
            return
        try:
            os.mkdir(self._folder, 0o755)
            if not os.access(f"{self._folder}/cgroup.kill", os.W_OK):
                raise PermissionError
            _write(f"{self._folder}/cgroup.procs", agent)
        except OSError:
            self.remove()

    def enter(self, *spared: int) -> None:
        """See that this process is in the group, if there is one, before it starts others; and what was spared."""
        if self._folder is not None:
            for pid in (*(() if self._is_in() else (0,)), *spared):
                _move_to(self._folder, pid)

    def others(self, *spared: int) -> list[int]:
        """Give the pids of all in the group but this process, and but for those."""
        found: set[int] = set()
        for folder, _, _ in os.walk(self._folder or ""):
            try:
                with open(f"{folder}/cgroup.procs", encoding="ascii") as file:
                    found.update(map(int, file))
            except OSError:
                pass  # What the job made in there has just gone.
        return sorted(found - {0, os.getpid(), *spared})

    def kill_others(self, *spared: int) -> None:
        """Kill all of the group at one instant, but for this process and those: they step out of it for that."""
        if self._folder is None or self._outside is None:
            return
        for pid in spared:
            _move_to(self._outside, pid)
        if not self._is_in() or _move_to(self._outside):
            self.kill()

    def kill(self) -> None:
        """Kill all of the group at one instant."""
        if self._folder is not None:
            try:
                _write(f"{self._folder}/cgroup.kill", 1)
            except OSError:
                pass  # There is none, or it is gone.

    def remove(self) -> None:
        """Remove the group and what the job made below it; waits a moment for what has just been killed in there."""
        deadline = time.monotonic() + _REMOVAL_LIMIT
        while self._folder is not None and os.path.isdir(self._folder) and time.monotonic() < deadline:
            for folder, _, _ in os.walk(self._folder, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    time.sleep(0.002)

    def _is_in(self) -> bool:
        return self._folder is not None and _own_folder("cgroup2", "") == self._folder


def _move_to(folder: str, pid: int = 0) -> bool:
    try:
        _write(f"{folder}/cgroup.procs", pid)
        return True
    except OSError:
        return False  # There was none to be had from the start.


class MemoryGroup:
    """The group whose memory this process's counts as; that of the machine where the kernel counts for none."""

    def __init__(self, proc: str = "/proc") -> None:
        """`proc` is where the kernel says which group that is."""
        self._vmstat = f"{proc}/vmstat"
        self._folder = _own_folder("cgroup", "memory", proc)
        self._events, self._limit, self._peak = (
            "memory.oom_control",
            "memory.limit_in_bytes",
            "memory.max_usage_in_bytes",
        )
        if self._folder is None:
            self._folder = _own_folder("cgroup2", "", proc)
            self._events, self._limit, self._peak = "memory.events", "memory.max", "memory.peak"
        # Of version 2 only some groups count memory, and the root counts nothing.
        while self._folder and not os.path.exists(f"{self._folder}/{self._events}"):
            self._folder = os.path.dirname(self._folder) if os.path.exists(f"{self._folder}/cgroup.procs") else None

    def now(self) -> Memory | None:
        """Give what the kernel has counted; None where it counts nothing."""
        if not self._folder:
            kills = _named(self._vmstat, "oom_kill")
            return None if kills is None else Memory(kills)
        kills = _named(f"{self._folder}/{self._events}", "oom_kill")
        if kills is None:
            return None
        limit, peak = _number(f"{self._folder}/{self._limit}"), _number(f"{self._folder}/{self._peak}")
        return Memory(kills, None if limit is None or limit >= _NO_LIMIT else limit, peak)


def _own_folder(kind: str, controller: str, proc: str = "/proc") -> str | None:
    """Give the folder of this process's group in the hierarchy of that kind; None where none is mounted."""
    try:
        with open(f"{proc}/self/cgroup", encoding="utf-8") as file:
            rows = [line.rstrip("\n").split(":", 2) for line in file]
        with open(f"{proc}/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split(" ") for line in file]
    except OSError:
        return None
    own = next((path for _, controllers, path in rows if controller in controllers.split(",")), None)
    if own is None:
        return None
    for fields in mounts:
        dash = fields.index("-")
        if fields[dash + 1] != kind or (controller and controller not in fields[dash + 3].rstrip("\n").split(",")):
            continue
        root, point = fields[3], fields[4]
        # In a container the mount may begin at its own group, whatever that is called outside.
        inside = own if root == "/" else own[len(root) :] if f"{own}/".startswith(f"{root}/") else ""
        return f"{point}{inside}".rstrip("/")
    return None


def _named(path: str, name: str) -> int | None:
    """Read one number of a file with a name and a number a line."""
    try:
        with open(path, encoding="ascii") as file:
            return next((int(words[1]) for words in map(str.split, file) if words[0] == name), None)
    except (OSError, ValueError):
        return None


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None  # The kernel is older, or says `max`.


def _write(path: str, number: int) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(str(number))
