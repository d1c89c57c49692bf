"""Read-only views of files and folders: bind mounts that only the agent and what it starts can see.

They live in a mount namespace of the agent's own, so the kernel takes them away with the last process in it,
however that ends, and nobody else on the machine ever meets one.
"""

from __future__ import annotations

import ctypes
import os
import re

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_RDONLY = 1
_MS_REMOUNT = 32
_MS_BIND = 4096
_MS_REC = 16384
_MS_SLAVE = 1 << 19
_MNT_DETACH = 2
_KEPT = {os.ST_NOSUID: 2, os.ST_NODEV: 4, os.ST_NOEXEC: 8, os.ST_NOATIME: 1024, os.ST_NODIRATIME: 2048}
_KEPT[os.ST_RELATIME] = 1 << 21
"""What a mount must keep when it is made read-only (a user namespace may not drop it): statvfs' name, mount's."""

_libc = ctypes.CDLL(None, use_errno=True)


def enter_own_namespace(probe: str) -> bool:
    """Give this process, which must have one thread only, mounts of its own; False where that cannot be had.

    Root needs CAP_SYS_ADMIN, others a user namespace. Whether it works is tried out in a child on the folder
    `probe`, because a failed try can leave a process with less than it had (AppArmor allows the namespace and
    refuses the mounts).
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _enter()
            mount_view(probe, probe)
            status = 0
        except OSError:
            pass
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1] != 0:
        return False
    _enter()
    return True


def _enter() -> None:
    uid, gid = os.getuid(), os.getgid()
    # In a user namespace root would lose its power over other users' files, so it goes without.
    _check(_libc.unshare(_CLONE_NEWNS if uid == 0 else _CLONE_NEWNS | _CLONE_NEWUSER), "unshare")
    if uid != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    # What the machine mounts later (an automounter's folders) still comes in; what we mount does not get out.
    _mount(None, "/", _MS_REC | _MS_SLAVE)


def mount_view(source: str, target: str) -> None:
    """Show `source` at `target`, a folder or file that is there, with everything below it, and read-only."""
    _mount(source, target, _MS_BIND | _MS_REC)
    try:
        for point in mounts_below(target):
            _mount(None, point, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _flags_of(point))
    except OSError:
        unmount(target)
        raise


def unmount(target: str) -> None:
    """Take a view away."""
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), target)


def cover(folder: str) -> None:
    """Show an empty folder that cannot be written in place of this one."""
    _check(_libc.mount(b"none", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(_MS_RDONLY), b"mode=0700"), folder)


def mounts_below(folder: str) -> list[str]:
    """Give every mount at `folder` and below it that this process sees."""
    root = os.path.realpath(folder)
    with open("/proc/self/mountinfo", "rb") as file:
        points = [os.fsdecode(_unescaped(line.split(b" ")[4])) for line in file]
    return [point for point in points if point == root or point.startswith(f"{root}/")]


def _unescaped(text: bytes) -> bytes:
    r"""Undo the kernel's \040 for a space and the like."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), text)


def _flags_of(point: str) -> int:
    found = os.statvfs(point).f_flag
    return sum(flag for name, flag in _KEPT.items() if found & name)


def _mount(source: str | None, target: str, flags: int) -> None:
    origin = None if source is None else os.fsencode(source)
    _check(_libc.mount(origin, os.fsencode(target), None, ctypes.c_ulong(flags), None), target)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
