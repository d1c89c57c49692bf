"""The ready jobs of each framework on three hosts that share nothing, as they are."""

from __future__ import annotations

import pytest

from .conftest import SshLab

TORCH, TENSORFLOW, MPI = (getattr(pytest.mark, name) for name in ("torch", "tensorflow", "mpi"))
JOBS = {
    "pytorch-ddp": (TORCH, ("--nproc", "1", "--start-method", "spawn", "--set", "command=python train.py --epochs 1")),
    "tensorflow-multiworker": (TENSORFLOW, ("--workers", "3", "--set", "command=python train.py --epochs 1")),
    "mpi4py": (MPI, ("--nproc", "1")),
}
FLAGS = ("--env", "OMP_NUM_THREADS=1")
"""All hosts are one machine, of whose processors each takes itself for the owner."""

pytestmark = [pytest.mark.ssh, pytest.mark.slow]


@pytest.mark.parametrize("name", [pytest.param(name, id=name, marks=mark) for name, (mark, _) in JOBS.items()])
def test_a_ready_job_completes_on_three_hosts(ssh_lab: SshLab, name: str) -> None:
    lab = ssh_lab
    assert lab.run("init", name).returncode == 0
    done = lab.run("run", f"{name}/job.yml", "--name", "r", "--hosts", "h[1-3]", *FLAGS, *JOBS[name][1])
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["rank"]: (row["nodeId"], row["status"]) for row in lab.status("r")}
    assert rows == {rank: (f"node-{rank}", "Completed") for rank in range(3)}
    assert [node["host"] for node in lab.show("r")["nodes"]] == ["h1", "h2", "h3"]
    assert any((lab.run_folder("r") / "outputs").iterdir())
