"""One cluster for all tests of a session, and a lab whose shell is on its login node."""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Generator, Iterator
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

    @property
    def places(self) -> list[Path]:
        """The folders for sockets, on the login node and on the others."""
        nodes = self.cluster.nodes.values()
        return [self.sockets, *(Path(f"/proc/{node.pid}/root{self.sockets}") for node in nodes)]

    def tell(self) -> None:
        """Print what became of the runs, for whoever looks for the cause of a failure."""
        for path in sorted(self.folder.glob(".regiment/runs/*")):
            for name in ("run.json", "events.jsonl", "logs/azureml/slurm.log", "logs/azureml/coordinator.log"):
                if (path / name).exists():
                    print(f"--- {path.name}/{name}", *(path / name).read_text().splitlines()[-40:], sep="\n")

    def end(self) -> None:
        """End all that a test has left, by force, so that the next one finds nothing of it."""
        while left := self.processes():
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for process in self.started:
            process.communicate()
        self.cluster.clear()
        for place in self.places:
            for path in place.iterdir():
                shutil.rmtree(path)


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether a test has failed before its end."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture
def slurm_lab(slurm: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SlurmLab]:
    """Give a lab on the login node, and fail if a process, a socket or a job of it is left at the end, anywhere."""
    lab = SlurmLab(tmp_path, slurm.sockets, uuid.uuid4().hex, cluster=slurm)
    try:
        yield lab
        if request.node.stash.get(_FAILED, False):
            lab.tell()
        else:  # Of one that has failed nothing may be over, nor ever be.
            lab.wait_until(lambda: not lab.processes())
            # Slurm itself is a moment later, with a job that has ended.
            lab.wait_until(lambda: not slurm.jobs())
            left = [str(path) for place in lab.places for path in place.rglob("*")]
            assert left == [], f"left behind: {left}"
    finally:
        lab.end()
