"""Looks at what surrounds the end of a process: memory that ran out, and the core file it left."""

from __future__ import annotations

import glob
import os
import re

from regiment.distribution.circumstances import Circumstances
from regiment.jobs.dataclass import replace

from . import cgroups

_SHARED_MEMORY = "/dev/shm"
_FULL = 1 << 20
"""Bytes; with less room than that a file in shared memory cannot grow, and who writes to it gets SIGBUS."""
_PATTERN = "/proc/sys/kernel/core_pattern"


class Witness:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._memory = cgroups.MemoryGroup()
        self._before = self._memory.now()

    def circumstances(self, pid: int | None, *, dumped_core: bool) -> Circumstances:
        """Give what is to be said of a process that has just ended otherwise than well."""
        memory = self._memory.now()
        if memory is not None and self._before is not None:
            memory = replace(memory, oom_kills=memory.oom_kills - self._before.oom_kills)
        return Circumstances(
            memory=memory,
            shared_memory_full=_is_full(_SHARED_MEMORY),
            core=_core(pid) if dumped_core and pid is not None else None,
        )


def _is_full(path: str) -> bool:
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_blocks > 0 and found.f_bavail * found.f_frsize < _FULL


def _core(pid: int) -> str | None:
    """Give the core file of a process that ran in this one's current folder, or who takes such files here."""
    try:
        with open(_PATTERN, encoding="utf-8") as file:
            pattern = file.read().strip()
        with open("/proc/sys/kernel/core_uses_pid", encoding="ascii") as file:
            has_pid = file.read().strip() != "0"
    except OSError:
        return None
    if pattern.startswith("|"):
        program = os.path.basename(pattern[1:].split(" ")[0])
        return f"handed to {program} as that of process {pid}"
    return core_file(pattern, pid, os.getcwd(), has_pid=has_pid)


def core_file(pattern: str, pid: int, folder: str, *, has_pid: bool) -> str | None:
    """Find the core file that core(5)'s `pattern` names for a process; the newest where several fit."""
    known = {"%p": str(pid), "%P": str(pid), "%i": str(pid), "%I": str(pid), "%%": "%"}
    parts = re.split(r"(%.)", pattern)
    name = "".join(known.get(part, "*") if part.startswith("%") else glob.escape(part) for part in parts)
    if has_pid and "%p" not in pattern:
        name += f".{pid}"
    found = [path for path in glob.glob(os.path.join(glob.escape(folder), name)) if os.path.isfile(path)]
    return max(found, key=os.path.getmtime, default=None)
