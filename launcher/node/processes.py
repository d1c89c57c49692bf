"""Looking at the machine's processes: who they are, whose children they are, which belong to a run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache

from .tag import TAG

_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PF_EXITING = 0x4
"""Flag of a thread that is ending, in field 9 of /proc/PID/stat (include/linux/sched.h)."""


def become_subreaper(name: str) -> None:
    """Adopt orphaned descendants of ours, and show `name` in process lists (Linux cuts it at 15 bytes)."""
    import ctypes  # Whoever only looks at processes has no use for it.

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become the reaper of this run's processes")


@contextmanager
def not_subreaper() -> Iterator[None]:
    """Let what loses its parent meanwhile go to whoever adopts our own orphans."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@cache
def boot_id() -> str:
    """Give the name of this boot of this machine (of this container, where that hides it)."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def numa_nodes() -> tuple[tuple[int, ...], ...]:
    """Give the processors of each of this machine's NUMA nodes; nothing where it does not say."""
    found = []
    index = 0
    while True:
        try:
            with open(f"/sys/devices/system/node/node{index}/cpulist", encoding="ascii") as file:
                found.append(_numbers(file.read().strip()))
        except OSError:
            return tuple(found)
        index += 1


def _numbers(text: str) -> tuple[int, ...]:
    """Read a list such as `0-3,8`, as the kernel writes it."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)


def start_ticks(pid: int) -> int | None:
    """Give a process's start time in clock ticks since boot, or None where there is no such process."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def is_zombie(pid: int) -> bool:
    """Say whether a process has ended and only waits to be reaped; so has one that is not there."""
    return not _is_alive(_stat(pid))


def _is_alive(fields: list[str] | None) -> bool:
    # Where only the first thread has ended (pthread_exit in main, or one of many that are just being killed) the state
    # is that of a zombie, and the process runs on.
    return fields is not None and (fields[0] not in ("Z", "X") or int(fields[17]) > 1)


def is_ending(pid: int) -> bool:
    """Say whether a process has begun to end by itself (or is gone): a signal that comes now is not the reason.

    Its first thread ends first; the threads that a library has started may be seen for a while after that.
    """
    fields = _stat(pid)
    return fields is None or fields[0] in ("Z", "X") or bool(int(fields[6]) & _PF_EXITING)


def described(pid: int) -> str | None:
    """Say which process that is, in which state and where in the kernel; None if it has ended."""
    fields = _stat(pid)
    if fields is None or not _is_alive(fields):
        return None
    words = [f"state {fields[0]}"]
    for name, said in (("comm", "{}"), ("wchan", "in {}")):
        try:
            with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="backslashreplace") as file:
                text = file.read().strip()
        except OSError:
            continue  # It has just ended, or only root may know.
        if text not in ("", "0"):
            words.append(said.format(text))
    return f"process {pid} ({', '.join(words)})"


def place() -> str:
    """Name this boot and the namespace of our processes: whoever is in one place sees the same processes."""
    try:
        return f"{boot_id()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def is_stopped(pid: int) -> bool:
    """Say whether a process has been stopped by a signal and waits for SIGCONT."""
    fields = _stat(pid)
    return fields is not None and fields[0] == "T"


def is_ready_for(pid: int, number: signal.Signals) -> bool:
    """Say whether a process does something else at a signal than to end: it catches, ignores or blocks it."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        masks = [int(fields[name], 16) for name in ("SigCgt", "SigIgn", "SigBlk")]
    except (OSError, KeyError, ValueError):
        return False
    return any(mask >> (number - 1) & 1 for mask in masks)


def program_name(pid: int) -> str:
    """Give the name of the program that a process runs; nothing where it has ended."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return ""


def descendants(root: int) -> list[int]:
    """Give the pids of all living children, grandchildren and so on of a process."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None and _is_alive(fields):
            children.setdefault(int(fields[1]), []).append(pid)
    found: list[int] = []
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            found.append(child)
            waiting.append(child)
    return found


def children(parent: int) -> list[int]:
    """Give the pids of a process's living children."""
    found = []
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None and int(fields[1]) == parent and _is_alive(fields):
            found.append(pid)
    return found


def mapped_files(root: int, beginnings: tuple[str, ...]) -> set[str]:
    """Give the files with such beginnings of their paths that a process and its descendants have in their memory."""
    found: set[str] = set()
    for pid in (root, *descendants(root)):
        try:
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
                paths = (line.rstrip("\n").partition("/")[2] for line in file)
                found.update(f"/{path}" for path in paths if f"/{path}".startswith(beginnings))
        except OSError:
            continue  # It has just ended.
    return found


def tagged(tag: str) -> list[int]:
    """Give the pids of all living processes of this user that carry the tag, whoever their parent is."""
    needle = f"{TAG}={tag}".encode()
    found = []
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                variables = file.read().split(b"\0")
        except OSError:
            continue  # It has ended, or is somebody else's.
        if any(v == needle or v.startswith(needle + b".") for v in variables) and not is_zombie(pid):
            found.append(pid)
    return found


def kill_all(tag: str, root: int | None, spare: Collection[int], seconds: float) -> list[int]:
    """Kill everything that carries the tag or descends from `root`, again and again until none is left.

    Gives back those that would not die in that many seconds. `spare` and this process stay.
    """
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        living = living_of_run(tag, root, spare)
        if not living or time.monotonic() > deadline:
            return living
        for pid in living:
            send_signal(pid, signal.SIGKILL)
        reap_orphans()
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def kill_tree(root: int, seconds: float) -> list[int]:
    """Kill a process and all its descendants; gives those that would not die in that many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        living = [pid for pid in (root, *descendants(root)) if not is_zombie(pid)]
        if not living or time.monotonic() > deadline:
            return living
        for pid in living:
            send_signal(pid, signal.SIGKILL)
        time.sleep(0.005)


def living_of_run(tag: str, root: int | None, spare: Collection[int]) -> list[int]:
    """Give the living processes that carry the tag or descend from `root`, but for `spare` and ourselves."""
    found = set(tagged(tag))
    if root is not None:
        found.update(descendants(root))
    return sorted(found - set(spare) - {os.getpid()})


def reap_orphans() -> None:
    """Reap whatever children have ended, for callers that no longer care how."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have gone."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def send_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group that may have gone."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def signal_name(number: int) -> str:
    """Give a signal's name, for example SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def outcome(wait_status: int) -> tuple[int | None, str | None]:
    """Split a wait status into exit code and name of the signal; one of them is None."""
    if os.WIFSIGNALED(wait_status):
        return None, signal_name(os.WTERMSIG(wait_status))
    return os.WEXITSTATUS(wait_status), None


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _stat(pid: int) -> list[str] | None:
    """Give the fields of /proc/PID/stat from the third on: state, parent and so on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read().decode("ascii", "replace")
    except OSError:
        return None
    # The second field is the program's name in brackets and may hold spaces and brackets itself.
    return text.rpartition(")")[2].split()
