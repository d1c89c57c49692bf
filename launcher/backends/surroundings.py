"""What a process inherits from where it was started, beside its environment: two must have the same to be exchanged."""

from __future__ import annotations

import os
import re
import resource

_STATUS = ("Uid", "Gid", "Groups", "Umask", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
"""Lines of /proc/PID/status (proc_pid_status(5))."""
_SESSION = re.compile(r"session-[^/]*\.scope")
"""systemd puts what a person starts into a group for each session; which one makes no difference."""


def surroundings(zip_path: str) -> dict[str, str]:
    """Give this process's, each under a name that a person understands, and the version of Regiment it has."""
    with open("/proc/self/status", encoding="utf-8") as file:
        status = dict(line.split(":", 1) for line in file)
    found = {f"{name} (/proc/PID/status)": " ".join(status.get(name, "").split()) for name in _STATUS}
    for name in sorted(os.listdir("/proc/self/ns")):
        if not name.endswith("_for_children"):
            found[f"the {name} namespace"] = os.readlink(f"/proc/self/ns/{name}")
    for name in sorted(item for item in dir(resource) if item.startswith("RLIMIT_")):
        found[f"the limit {name}"] = str(resource.getrlimit(getattr(resource, name)))
    found["the version of Regiment"] = os.path.basename(zip_path)
    found["the root folder"] = os.readlink("/proc/self/root")
    found["the control group"] = _SESSION.sub("session", _read("/proc/self/cgroup"))
    found["the score for the OOM killer"] = _read("/proc/self/oom_score_adj")
    found["the personality"] = _read("/proc/self/personality")
    found["the priority"] = str((os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)))
    found["the processors"] = str(sorted(os.sched_getaffinity(0)))
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except OSError:
        return ""  # Older kernels have not all of them.
