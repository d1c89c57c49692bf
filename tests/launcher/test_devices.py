"""What is said of GPUs that are too few; no GPU is needed, for their numbers come from CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import json

from .conftest import Lab

SPAWN = ("--type", "pytorch", "--start-method", "spawn")
FEW = (
    "node-0 has 2 GPUs for 4 processes: a program that takes GPU number LOCAL_RANK fails there with "
    "'invalid device ordinal' from local rank 2 on"
)
SHARED = (
    "4 nodes emulated here share 2 GPUs: NCCL refuses two ranks on one GPU ('Duplicate GPU detected'); "
    "gloo does not mind"
)


def test_too_few_gpus_are_told_once_on_screen_and_in_the_record(lab: Lab) -> None:
    flags = ("--name", "r", "--nproc", "4", *SPAWN)
    result = lab.run("run", *flags, "--", "true", CUDA_VISIBLE_DEVICES="0,1")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(FEW) == 1
    assert lab.show("r")["warnings"] == [{"source": "regiment", "message": FEW}]


def test_the_plan_tells_it_and_whose_gpu_is_which(lab: Lab) -> None:
    result = lab.run("plan", "--nproc", "4", *SPAWN, "--", "true", CUDA_VISIBLE_DEVICES="4,7")
    assert result.returncode == 0, result.stderr
    assert f"note: {FEW}" in result.stdout
    assert "GPUs 4,7" in result.stdout
    assert "rank 1 (local rank 1, GPU 7)" in result.stdout
    assert "rank 2 (local rank 2)" in result.stdout


def test_a_tensorflow_tasks_gpus_are_those_it_will_see(lab: Lab) -> None:
    flags = ("--type", "tensorflow", "--workers", "1", "--parameter-servers", "3")
    result = lab.run("plan", *flags, "--", "true", CUDA_VISIBLE_DEVICES="0,1")
    assert result.returncode == 0, result.stderr
    assert "rank 0 (local rank 0, worker 0, GPUs 0,1)" in result.stdout
    assert "CUDA_VISIBLE_DEVICES=0,1" in result.stdout
    assert "rank 1 (local rank 1, ps 0, stopped when the others are done)" in result.stdout
    assert result.stdout.count("CUDA_VISIBLE_DEVICES=-1") == 3
    assert "note:" not in result.stdout


def test_nodes_that_share_gpus_are_told_of(lab: Lab) -> None:
    result = lab.run("run", "--name", "r", "--nodes", "4", *SPAWN, "--", "true", CUDA_VISIBLE_DEVICES="0,1")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(SHARED) == 1
    planned = lab.run("plan", "--nodes", "4", "-o", "json", "--", "true", CUDA_VISIBLE_DEVICES="0,1")
    assert json.loads(planned.stdout)["notes"] == [SHARED]


def test_enough_gpus_are_nothing_to_speak_of(lab: Lab) -> None:
    flags = ("--nodes", "2", "--nproc", "2", *SPAWN)
    planned = lab.run("plan", *flags, "-o", "json", "--", "true", CUDA_VISIBLE_DEVICES="0,1,2,3")
    data = json.loads(planned.stdout)
    assert data["notes"] == []
    assert [node["environ"]["CUDA_VISIBLE_DEVICES"] for node in data["nodes"]] == ["0,1", "2,3"]
