"""Programs and jobs that submit runs to hosts, what a plan says of those, and torchrun between them."""

from __future__ import annotations

import json
import sys

import pytest

from .conftest import SshLab

pytestmark = pytest.mark.ssh

REGIMENT = f"{sys.executable} -m regiment"
PROGRAM = """
from regiment import Experiment, ScriptRunConfig, Workspace

experiment = Experiment(Workspace.from_config(), "e")
run = experiment.submit(ScriptRunConfig(source_directory="code", script="train.py", compute_target="lab"))
run.wait_for_completion(show_output=True)
print("and it is", run.get_status())
later = experiment.submit(
    ScriptRunConfig(source_directory="code", script="train.py", arguments=["for ever"], compute_target="lab")
)
later.cancel()
print("the other is", later.wait_for_completion(raise_on_error=False)["status"])
"""
FLAGS = ("--type", "pytorch", "--start-method", "spawn", "--nproc", "2")
TRAIN = "import socket, sys, time\nprint('trained on', socket.gethostname())\ntime.sleep(3600 * len(sys.argv[1:]))\n"


@pytest.fixture
def lab(ssh_lab: SshLab) -> SshLab:
    """Give a lab with a compute target of two hosts, and some code."""
    ssh_lab.write("code/train.py", TRAIN)
    assert ssh_lab.run("compute", "add", "lab", "--type", "ssh", "--hosts", "h[2-3]").returncode == 0
    return ssh_lab


def test_a_program_submits_waits_and_cancels(lab: SshLab) -> None:
    out = lab.script(PROGRAM).stdout
    assert "trained on h2\n" in out
    assert "and it is Completed\nthe other is Canceled\n" in out


def test_a_job_submits_another_to_hosts_and_shows_it(lab: SshLab) -> None:
    inner = f"{REGIMENT} run --name inner --compute lab --nodes 2 --code code -- python train.py"
    done = lab.run("run", "--name", "outer", "--", "sh", "-c", f"{inner}; echo ended with $?")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"trained on {name}\n" in done.stdout for name in ("h2", "h3"))
    assert "ended with 0\n" in done.stdout
    assert lab.show("inner")["parentRunId"] == "outer"


def test_a_target_with_too_few_hosts_is_refused_in_a_program_as_well(lab: SshLab) -> None:
    inner = f"{REGIMENT} run --compute lab --nodes 3 --code code -- true"
    done = lab.run("run", "--", "sh", "-c", inner)
    assert done.returncode == 1
    assert "the job has 3 nodes, and there are 2 hosts: h2, h3; name more" in done.stdout


@pytest.mark.parametrize("where", [("--hosts", "h[2-3]"), ("--compute", "lab")], ids=["hosts", "compute"])
def test_a_plan_for_hosts_has_a_node_for_each(lab: SshLab, where: tuple[str, str]) -> None:
    done = lab.run("plan", "-o", "json", *where, "--nodes", "2", *FLAGS, "--code", "code", "--", "true")
    assert done.returncode == 0, done.stderr
    nodes = json.loads(done.stdout)["nodes"]
    assert [(len(node["processes"]), node["node"]["address"]) for node in nodes] == [
        (2, f"{{address of node-{index}}}") for index in (0, 1)
    ]


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("nodes", ["2", "2:2"], ids=["static", "elastic"])
def test_torchrun_finds_the_other_hosts_by_the_addresses_that_were_chosen(lab: SshLab, nodes: str) -> None:
    lab.write("code/say.py", "import os\nprint('rank', os.environ['RANK'], 'by', os.environ['MASTER_ADDR'])\n")
    flags = ("--type", "pytorch", "--start-method", "torchrun", "--nproc", "1", "--env", "OMP_NUM_THREADS=1")
    where = ("--hosts", "h[2-3]", "--nodes", nodes)
    done = lab.run("run", "--name", "r", *where, *flags, "--code", "code", "--", "python", "say.py")
    assert done.returncode == 0, done.stdout + done.stderr
    for rank in (0, 1):
        assert f"rank {rank} by {lab.bed.net}.2\n" in done.stdout
