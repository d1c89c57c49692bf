"""From the command to the first all-reduce on a Slurm cluster, beside plain `srun torchrun` on the same nodes.

The cluster is four nodes of this one machine, with nothing in the queue: what differs is what the launchers do.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.slurm.cluster import NODES, Cluster, missing_programs, open_cluster

from .published import publish
from .test_side_by_side import FIRST_SUM

pytestmark = [pytest.mark.benchmark, pytest.mark.slurm, pytest.mark.torch]

ROUNDS = 3
PATIENCE = 120.0
BIN = Path(sys.executable).parent
_REGIMENT = (str(BIN / "python"), "-m", "regiment", "run", "--quiet", f"--nodes={NODES}", "--nproc=1", "--type=pytorch")
_SALLOC = ("salloc", "--quiet", f"--nodes={NODES}")
PLAIN = "srun torchrun"
WAYS = {
    PLAIN: (
        *("srun", f"--nodes={NODES}", "--ntasks-per-node=1", "--cpu-bind=none", str(BIN / "torchrun")),
        *(f"--nnodes={NODES}", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-endpoint=n1:29400"),
    ),
    "regiment run, torchrun": (*_REGIMENT, "--compute=gpu", "--", "python"),
    "regiment run, spawn": (*_REGIMENT, "--compute=gpu", "--start-method=spawn", "--", "python"),
    "salloc, then regiment run, torchrun": (*_SALLOC, *_REGIMENT, "--", "python"),
    "salloc, then regiment run, spawn": (*_SALLOC, *_REGIMENT, "--start-method=spawn", "--", "python"),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Give a cluster of its own."""
    if os.geteuid() != 0 or missing_programs():
        pytest.skip("a Slurm of its own takes root and Debian's Slurm")
    with open_cluster() as found:
        yield found


def seconds_to_first_sum(way: str, cluster: Cluster, folder: Path, number: int) -> float:
    """Give the time from the command to the last rank's sum."""
    marks = folder / f"{number}-{way.replace(' ', '-')}"
    marks.mkdir()
    environ = {**os.environ, **cluster.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    argv = (*WAYS[way], "script.py", str(marks))
    cluster.wait_until_idle()
    began = time.time()
    subprocess.run(
        argv, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=PATIENCE
    )
    return max(float((marks / f"sum-{rank}").read_text()) for rank in range(NODES)) - began


def test_from_the_command_to_the_first_all_reduce_on_slurm(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(FIRST_SUM, "utf-8")
    target = (*_REGIMENT[:3], "compute", "add", "gpu", "--type", "slurm", "--partition", "main")
    subprocess.run(target, cwd=tmp_path, check=True, capture_output=True)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(ROUNDS):
        for way, found in times.items():
            found.append(seconds_to_first_sum(way, cluster, tmp_path, number))
    medians = {way: statistics.median(found) for way, found in times.items()}
    rows = [
        (way, f"{medians[way]:.2f} s", f"{medians[way] / medians[PLAIN]:.2f}", f"{min(found):.2f} to {max(found):.2f}")
        for way, found in times.items()
    ]
    header = ("command", "first all-reduce", f"ratio to {PLAIN}", "all tries")
    publish("start on slurm", header, rows, f"Medians of {ROUNDS}.")
    assert medians["regiment run, spawn"] < medians[PLAIN]
