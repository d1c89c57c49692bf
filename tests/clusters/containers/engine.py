"""Containers for tests: podman and buildah on a machine of their own, with all that is theirs in one folder.

Podman leaves more on a machine than containers: bridges, rules of iptables, mounts, locks in shared memory. So it has
namespaces of its own for network, processes and mounts, which go with all that was made in them when their first
process dies; and that dies with this one, even if this one is killed.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GUARD = 300.0
"""Seconds after which what is waited for never comes, however busy the machine is."""
_PROGRAMS = ("podman", "buildah", "runc", "conmon", "iptables", "ip", "setpriv", "unshare", "nsenter")
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_HELPERS = ("/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns")
_CGROUPS = Path("/sys/fs/cgroup")
_MACHINE = (
    "mount -t proc proc /proc",
    "mount -t tmpfs none /run",
    "mount -t tmpfs none /dev/shm",
    "ip link set lo up",
    "echo ready",
)


def missing_programs() -> list[str]:
    """Give what this machine lacks for containers."""
    path = f"{os.environ['PATH']}:{_SYSTEM_PATH}"
    missing = [program for program in _PROGRAMS if shutil.which(program, path=path) is None]
    return missing + [path for path in _HELPERS if not Path(path).exists()]


class Engine:
    """Runs podman and buildah; what runs may be told by a variable in its environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cgroup = f"/{folder.name}"
        """The control group of all containers."""
        self._storage = ("--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "overlay")
        self.podman_argv = (
            *("podman", *self._storage, "--runtime", "runc", "--cgroup-manager", "cgroupfs"),
            *("--tmpdir", f"{folder}/tmp", "--events-backend", "none"),
            *("--network-backend", "netavark", "--network-config-dir", f"{folder}/networks"),
        )
        """How every command of podman's begins."""
        # The first process waits for whatever loses its parent there.
        # In memory, where it is quickly made and gone: some 200 MB.
        steps = ("mount --make-rprivate /", f"mount -t tmpfs -o mode=0700 none {folder}", *_MACHINE)
        script = f"{' && '.join(steps)} && sleep infinity & wait; wait"
        unshare = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", script)
        self._machine = subprocess.Popen(
            ("setpriv", "--pdeathsig", "KILL", *unshare), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self._machine.stdout is not None
        assert self._machine.stdout.readline() == "ready\n"
        pid = self._machine.pid
        first = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        self._first = os.pidfd_open(first)
        self._enter = ("nsenter", "--target", str(first), "--net", "--mount", "--pid", "--")

    def podman(self, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
        """Run a command of podman's; gives what it prints."""
        return self.run(*self.podman_argv, *arguments, environ=environ)

    def try_podman(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of podman's that may fail."""
        return self.try_run(*self.podman_argv, *arguments)

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """Give what podman knows of an image, a container or a network."""
        found: dict[str, Any] = json.loads(self.podman(kind, "inspect", name))[0]
        return found

    def import_rootfs(self, rootfs: Path, name: str) -> None:
        """Make an image of one layer."""
        packed = rootfs.with_suffix(".tar")
        self.run("tar", "-C", str(rootfs), "-c", "-f", str(packed), ".")
        self.podman("import", "--quiet", str(packed), name)
        packed.unlink()

    def build(self, context: Path, file: Path, name: str, arguments: Mapping[str, str], *flags: str) -> None:
        """Build an image as a user does, but with no registry to pull from."""
        given = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        # Docker's format has health checks, that of the Open Container Initiative has none.
        how = ("--isolation", "chroot", "--pull-never", "--format", "docker", "--quiet")
        where = ("--file", str(file), "--tag", name, str(context))
        self.run("buildah", *self._storage, "bud", *how, *given, *flags, *where)

    def run(self, *argv: str, environ: Mapping[str, str] | None = None) -> str:
        """Run a program on the machine of the containers; gives what it prints."""
        done = self.try_run(*argv, environ=environ)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def try_run(self, *argv: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program there that may fail."""
        return subprocess.run(
            (*self._enter, *argv),
            env={**os.environ, **(environ or {}), "PATH": f"{os.environ['PATH']}:{_SYSTEM_PATH}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GUARD,
        )

    def close(self) -> None:
        """Leave nothing: no process, no folder, no control group."""
        self._machine.kill()
        self._machine.communicate()
        # It is the last one to go of all that were there.
        assert select.select([self._first], (), (), GUARD)[0]
        os.close(self._first)
        shutil.rmtree(self.folder)
        for group in sorted(_CGROUPS.glob(f"*{self.cgroup}/**/"), reverse=True):
            group.rmdir()


@contextmanager
def open_engine() -> Iterator[Engine]:
    """Give an engine with nothing in it."""
    # Not in pytest's folders: podman's paths have to be short, and an image is too big to be kept.
    engine = Engine(Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp")))
    try:
        yield engine
    finally:
        engine.close()
