"""Every ready job, copied and run as it is: two nodes, two processes each, with the framework that it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from regiment import jobs

from .conftest import Lab

EXAMPLES = Path(next(iter(jobs.__path__))) / "examples"
TORCH, TENSORFLOW, MPI, HOROVOD = (getattr(pytest.mark, name) for name in ("torch", "tensorflow", "mpi", "horovod"))
HELPERS = {"tensorflow-parameter-server": {1, 2, 3}}
"""The ranks that never end by themselves: those a chief gives work to, and what keeps their model."""
NEEDS = {
    "hello-world": (),
    "horovod": (HOROVOD,),
    "mpi4py": (MPI,),
    "pytorch-ddp": (TORCH,),
    "pytorch-elastic": (TORCH,),
    "pytorch-fsdp": (TORCH,),
    "tensorflow-multiworker": (TENSORFLOW,),
    "tensorflow-parameter-server": (TENSORFLOW,),
}

pytestmark = pytest.mark.slow


def test_no_ready_job_is_left_out() -> None:
    assert sorted(NEEDS) == sorted(path.parent.name for path in EXAMPLES.glob("*/job.yml"))


@pytest.mark.parametrize("name", [pytest.param(name, id=name, marks=marks) for name, marks in NEEDS.items()])
def test_a_ready_job_completes_on_two_nodes_with_two_processes_each(lab: Lab, name: str) -> None:
    assert lab.run("init", name).returncode == 0
    result = lab.run("run", f"{name}/job.yml", "--name", "r")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Completed" in result.stderr
    rows = {row["rank"]: (row["nodeId"], row["status"]) for row in lab.status("r")}
    stopped = HELPERS.get(name, set())
    assert rows == {rank: (f"node-{rank // 2}", "Stopped" if rank in stopped else "Completed") for rank in range(4)}
    assert any((lab.run_folder("r") / "outputs").iterdir()), "each keeps what it made"
