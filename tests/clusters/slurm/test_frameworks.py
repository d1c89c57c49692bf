"""The ready jobs of each framework on four nodes, submitted from the login node as they are."""

from __future__ import annotations

import pytest

from .conftest import SlurmLab

TORCH, TENSORFLOW, MPI = (getattr(pytest.mark, name) for name in ("torch", "tensorflow", "mpi"))
JOBS = {
    "pytorch-ddp": (TORCH, ("--nproc", "1", "--set", "command=python train.py --epochs 1")),
    "tensorflow-multiworker": (TENSORFLOW, ("--set", "command=python train.py --epochs 1")),
    "mpi4py": (MPI, ("--nproc", "1")),
}
FLAGS = ("--env", "OMP_NUM_THREADS=1")
"""All nodes are one machine, of whose processors each takes itself for the owner."""

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.mark.parametrize("name", [pytest.param(name, id=name, marks=mark) for name, (mark, _) in JOBS.items()])
def test_a_ready_job_completes_on_four_nodes(slurm_lab: SlurmLab, name: str) -> None:
    lab = slurm_lab
    assert lab.run("init", name).returncode == 0
    assert lab.run("compute", "add", "gpu", "--type", "slurm", "--partition", "main").returncode == 0
    done = lab.run("run", f"{name}/job.yml", "--name", "r", "--compute", "gpu", "--nodes", "4", *FLAGS, *JOBS[name][1])
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["rank"]: (row["nodeId"], row["status"]) for row in lab.status("r")}
    assert rows == {rank: (f"node-{rank}", "Completed") for rank in range(4)}
    assert [node["host"] for node in lab.show("r")["nodes"]] == ["n1", "n2", "n3", "n4"]
    assert any((lab.run_folder("r") / "outputs").iterdir())
