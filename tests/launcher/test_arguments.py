"""Wrong arguments and wrong files: exit status 2, a sentence with the next step, never a traceback."""

from __future__ import annotations

import pytest

from .conftest import Lab

BAD_JOB = """\
comand: python train.py
experiment_name: ../x
resources: {instance_count: 0}
distribution: {type: pytorch, process_count_per_instance: two}
code: nowhere
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "name a job file, or give a command"),
        (["run", "--"], "name a job file, or give a command"),
        (["run", "nowhere.yml"], "nowhere.yml: cannot be read"),
        (["run", "job.yml", "--", "true"], "not both"),
        (["run", "--nodes", "0", "--", "true"], "0 is below 1"),
        (["run", "--nodes", "two", "--", "true"], "--nodes"),
        (["run", "--nproc", "2", "--", "true"], "add --type pytorch"),
        (["run", "--nproc", "gpu", "--type", "pytorch", "--", "true"], "no GPU"),
        (["run", "--name", "../x", "--", "true"], "--name: '../x' cannot be a name"),
        (["run", "--experiment", "a/b", "--", "true"], "--experiment: 'a/b' cannot be a name"),
        (["run", "--env", "NOT_THERE", "--", "true"], "no such variable"),
        (["run", "--env", "=x", "--", "true"], "NAME=VALUE"),
        (["run", "--set", "a=b", "--", "true"], "--set changes keys of a job file"),
        (["run", "--code", "nowhere", "--", "true"], "no such folder"),
        (["run", "--compute", "gpu-cluster", "--", "true"], "gpu-cluster"),
        (["run", "--torchrun-arg=--nnodes=3", "--type", "pytorch", "--nproc", "1", "--", "true"], "--nnodes"),
        (["run", "--timeout", "nan", "--", "true"], "number of seconds"),
        (["run", "--workspace", "/proc/nowhere", "--", "true"], "--workspace"),
        (["frobnicate"], "frobnicate"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_started(lab: Lab, arguments: list[str], said: str) -> None:
    result = lab.run(*arguments, CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr and result.stdout == ""
    assert not (lab.folder / ".regiment" / "runs").exists() or not list((lab.folder / ".regiment" / "runs").iterdir())


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_every_fault_of_a_job_file_is_told_at_once_with_its_line(lab: Lab, command: str) -> None:
    lab.write("job.yml", BAD_JOB)
    result = lab.run(command, "job.yml")
    assert result.returncode == 2
    places = [line.split(": ")[0:2] for line in result.stderr.splitlines()]
    assert places == [
        ["job.yml:1", "comand"],
        ["job.yml:1", "command"],
        ["job.yml:2", "experiment_name"],
        ["job.yml:3", "resources.instance_count"],
        ["job.yml:4", "distribution.process_count_per_instance"],
        ["job.yml:5", "code"],
    ]


def test_a_plain_script_that_is_not_in_the_snapshot_is_found_before_anything_runs(lab: Lab) -> None:
    lab.write("src/other.py", "")
    lab.write("job.yml", "command: python train.py --lr 0.1\ncode: src\n")
    result = lab.run("run", "job.yml")
    assert result.returncode == 2
    assert result.stderr.startswith("job.yml:1: command: ") and "train.py" in result.stderr


def test_a_plan_starts_nothing_and_makes_no_workspace(lab: Lab) -> None:
    result = lab.run("plan", "--nodes", "2", "--env", "MY_TOKEN=hidden", "--", "python", "x.py", RANK="3")
    assert result.returncode == 0
    assert "rank 1" in result.stdout and "NODE_RANK=1" in result.stdout
    assert "hidden" not in result.stdout
    assert "but for: RANK" in result.stdout
    assert list(lab.folder.iterdir()) == []


def test_a_valid_file_is_called_valid(lab: Lab) -> None:
    lab.write("job.yml", "command: echo hi\n")
    result = lab.run("validate", "job.yml")
    assert (result.returncode, result.stdout) == (0, "job.yml: valid\n")


def test_the_callers_gpus_are_shared_among_the_nodes(lab: Lab) -> None:
    command = ("sh", "-c", "echo $CUDA_VISIBLE_DEVICES $GPU_PER_NODE_COUNT")
    result = lab.run("run", "--name", "r", "--nodes", "2", "--", *command, CUDA_VISIBLE_DEVICES="0,1,2,3")
    assert sorted(result.stdout.splitlines()) == ["[node-0 rank 0] 0,1 2", "[node-1 rank 1] 2,3 2"]
