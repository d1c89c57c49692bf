"""Containers for tests: podman and buildah with all that is theirs in one folder, which goes when they do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GUARD = 120.0
_PROGRAMS = ("podman", "buildah", "runc", "conmon", "iptables")
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_HELPERS = ("/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns")


def missing_programs() -> list[str]:
    """Give what this machine lacks for containers."""
    path = f"{os.environ['PATH']}:{_SYSTEM_PATH}"
    missing = [program for program in _PROGRAMS if shutil.which(program, path=path) is None]
    return missing + [path for path in _HELPERS if not Path(path).exists()]


class Engine:
    """Runs podman and buildah; what runs may be told by a variable in its environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._storage = ("--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "overlay")
        self._podman = (
            *("podman", *self._storage, "--runtime", "runc", "--cgroup-manager", "cgroupfs"),
            *("--tmpdir", f"{folder}/tmp", "--network-config-dir", f"{folder}/networks", "--events-backend", "none"),
        )

    def podman(self, *arguments: str, environ: Mapping[str, str] | None = None, guard: float = GUARD) -> str:
        """Run a command of podman's; gives what it prints."""
        return _run((*self._podman, *arguments), environ, guard)

    def try_podman(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of podman's that may fail."""
        return subprocess.run(
            (*self._podman, *arguments), capture_output=True, text=True, timeout=GUARD, stdin=subprocess.DEVNULL
        )

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """Give what podman knows of an image, a container or a network."""
        found: dict[str, Any] = json.loads(self.podman(kind, "inspect", name))[0]
        return found

    def import_rootfs(self, rootfs: Path, name: str) -> None:
        """Make an image of one layer."""
        packed = self.folder / "rootfs.tar"
        _run(("tar", "-C", str(rootfs), "-c", "-f", str(packed), "."))
        self.podman("import", "--quiet", str(packed), name)
        packed.unlink()

    def build(self, context: Path, file: Path, name: str, arguments: Mapping[str, str], *flags: str) -> None:
        """Build an image as a user does, but with no registry to pull from."""
        given = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        # Docker's format has health checks, that of the Open Container Initiative has none.
        how = ("--isolation", "chroot", "--pull-never", "--format", "docker", "--quiet")
        where = ("--file", str(file), "--tag", name, str(context))
        _run(("buildah", *self._storage, "bud", *how, *given, *flags, *where))

    def close(self) -> None:
        """Leave nothing: no container, image, network or mount."""
        self.podman("rm", "--all", "--force", "--time", "0")
        self.podman("network", "prune", "--force")
        for path in _mounts_below(self.folder):
            _run(("umount", path))
        shutil.rmtree(self.folder)


def _run(argv: tuple[str, ...], environ: Mapping[str, str] | None = None, guard: float = GUARD) -> str:
    done = subprocess.run(
        argv,
        env={**os.environ, **(environ or {}), "PATH": f"{os.environ['PATH']}:{_SYSTEM_PATH}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=guard,
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def _mounts_below(folder: Path) -> list[str]:
    """Give what is mounted there, the deepest first."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((place for place in places if Path(place).is_relative_to(folder)), reverse=True)


@contextmanager
def open_engine() -> Iterator[Engine]:
    """Give an engine with nothing in it."""
    # Not in pytest's folders: podman's paths have to be short, and an image is too big to be kept.
    engine = Engine(Path(tempfile.mkdtemp(prefix="regiment-", dir="/tmp")))
    try:
        yield engine
    finally:
        engine.close()
