"""One cluster for all tests of a session, and a lab whose shell is on its login node."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.launcher.conftest import Lab

from .cluster import Cluster, missing_programs, open_cluster


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """Give a cluster; all tests of this process have the same."""
    missing = missing_programs()
    if os.geteuid() != 0 or missing:
        pytest.skip(f"a Slurm of its own takes root and {', '.join(missing) or 'nothing else'}")
    with open_cluster() as cluster:
        yield cluster


@dataclass
class SlurmLab(Lab):
    """A lab on the cluster's login node."""

    cluster: Cluster = field(kw_only=True)

    @property
    def environ(self) -> dict[str, str]:
        """What a lab has, and where Slurm is."""
        return {**super().environ, **self.cluster.environ}


@pytest.fixture
def slurm_lab(slurm: Cluster, tmp_path: Path) -> Iterator[SlurmLab]:
    """Give a lab on the login node, and fail if a process, a socket or a job of it is left at the end, anywhere."""
    lab = SlurmLab(tmp_path, slurm.sockets, uuid.uuid4().hex, cluster=slurm)
    places = [slurm.sockets, *(Path(f"/proc/{node.pid}/root{slurm.sockets}") for node in slurm.nodes.values())]
    try:
        yield lab
        lab.wait_until(lambda: not lab.processes())
        # Slurm itself is a moment later, with a job that has ended.
        lab.wait_until(lambda: not slurm.jobs(), 20)
        left = [str(path) for place in places for path in place.rglob("*")]
        assert left == [], f"left behind: {left}"
    finally:
        slurm.clear()
        for process in lab.started:
            process.kill()
            process.communicate()
