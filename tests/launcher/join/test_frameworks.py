"""PyTorch, TensorFlow and MPI on nodes that are joined over a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..conftest import Lab
from .nodes import Joined

_ALL_REDUCE = """\
import os
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
rank = torch.tensor([float(dist.get_rank())])
dist.all_reduce(rank)
print("sum", int(rank), "of", dist.get_world_size(), "on", os.environ["GROUP_RANK"], flush=True)
dist.destroy_process_group()
"""
_MPI = """\
from mpi4py import MPI
everybody = MPI.COMM_WORLD.allgather(MPI.COMM_WORLD.rank)
print("all", everybody, flush=True)
"""
_TF_CONFIG = "import json, os; print('index', json.loads(os.environ['TF_CONFIG'])['task']['index'], flush=True)"


def output(lab: Lab, node: int, rank: int) -> str:
    return lab.log("r", f"node-{node}/70_driver_log_{rank}.txt")


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("method", ["torchrun", "spawn"])
def test_pytorch(lab: Lab, method: str) -> None:
    lab.write("train.py", _ALL_REDUCE)
    flags = ("--type", "pytorch", "--nproc", "2", "--start-method", method)
    nodes = Joined(lab, 2).run(*flags, "--", "python", "train.py")
    assert [node.returncode for node in nodes] == [0, 0], nodes
    assert [output(lab, rank // 2, rank) for rank in range(4)] == [f"sum 6 of 4 on {rank // 2}\n" for rank in range(4)]


@pytest.mark.mpi
@pytest.mark.slow
def test_mpi_without_an_sshd(lab: Lab) -> None:
    lab.write("train.py", _MPI)
    nodes = Joined(lab, 2).run("--type", "mpi", "--nproc", "2", "--", "python", "train.py")
    assert [node.returncode for node in nodes] == [0, 0], nodes
    assert {output(lab, rank // 2, rank) for rank in range(4)} == {"all [0, 1, 2, 3]\n"}


def test_tasks_of_tensorflow(lab: Lab) -> None:
    lab.write("train.py", _TF_CONFIG)
    nodes = Joined(lab, 2).run("--type", "tensorflow", "--workers", "2", "--", "python", "train.py")
    assert [node.returncode for node in nodes] == [0, 0], nodes
    assert [output(lab, rank, rank) for rank in range(2)] == ["index 0\n", "index 1\n"]


def test_nodes_without_a_shared_folder_leave_the_same_run_folder(lab: Lab, tmp_path: Path) -> None:
    lab.write("src/train.sh", "mkdir -p outputs; echo $RANK > outputs/of-$RANK; echo here\n")
    lab.write("job.yml", json.dumps({"command": "sh train.sh", "code": "src", "experiment_name": "e"}))
    (lab.folder / ".regiment" / "runs").mkdir(parents=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    nodes = Joined(lab, 2)
    apart = {
        "REGIMENT_HIDDEN_FROM_NODES": str(lab.folder / ".regiment" / "runs"),
        "REGIMENT_NODE_FOLDER": str(disk),
        "REGIMENT_WORKSPACE": str(tmp_path / "other"),
    }
    started = [
        nodes.start(0, "job.yml"),
        nodes.start(1, prefix=("env", *(f"{name}={value}" for name, value in apart.items()))),
    ]
    ends = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0], ends
    outputs = lab.run_folder("r") / "outputs"
    assert sorted(path.name for path in outputs.iterdir()) == ["of-0", "of-1"]
    assert [output(lab, rank, rank) for rank in range(2)] == ["here\n", "here\n"]
