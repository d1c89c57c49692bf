"""Whole runs on hosts that are reached over ssh and share nothing with this machine but Python."""

from __future__ import annotations

import signal
import sys

import pytest

from .conftest import SshLab

pytestmark = pytest.mark.ssh

ALL = ("--hosts", "h1,h2,h3", "--code", "code")
"""The hosts see no folder of this machine's, so that what runs there has to be sent."""


@pytest.fixture
def lab(ssh_lab: SshLab) -> SshLab:
    """Give a lab with some code."""
    ssh_lab.write("code/say.sh", "mkdir -p outputs logs; hostname > outputs/$(hostname); hostname > logs/$(hostname)\n")
    return ssh_lab


def test_a_command_runs_on_three_hosts_and_what_it_wrote_comes_back(lab: SshLab) -> None:
    script = "echo node $NODE_RANK on $(hostname) at $MASTER_ADDR; sh say.sh"
    done = lab.run("run", "--name", "r", *ALL, "--", "bash", "-c", script)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        f"[node-{rank} rank {rank}] node {rank} on h{rank + 1} at {lab.bed.net}.1" for rank in range(3)
    ]
    nodes = lab.show("r")["nodes"]
    assert [(node["host"], node["ip"]) for node in nodes] == [(f"h{n}", f"{lab.bed.net}.{n}") for n in (1, 2, 3)]
    for path in (f"{folder}/h{n}" for folder in ("outputs", "logs") for n in (1, 2, 3)):
        assert (lab.run_folder("r") / path).read_text() == f"{path[-2:]}\n"


def test_the_job_sees_nothing_of_the_connection_that_it_outlives(lab: SshLab) -> None:
    done = lab.run("run", "--hosts", "h1", "--code", "code", "--", "sh", "-c", "env | grep ^SSH || command -v python")
    assert (done.returncode, done.stdout) == (0, f"{sys.executable}\n"), done.stderr


def test_a_process_that_fails_on_one_host_ends_those_on_the_others(lab: SshLab) -> None:
    script = "if [ $RANK = 1 ]; then exit 3; fi; exec sleep 3600"
    done = lab.run("run", "--name", "r", *ALL, "--", "bash", "-c", script)
    assert done.returncode == 1, done.stderr
    assert [(row["rank"], row["exitCode"]) for row in lab.status("r") if row["firstFailure"]] == [(1, 3)]


def test_ctrl_c_ends_what_runs_on_all_hosts(lab: SshLab) -> None:
    command = ("bash", "-c", "trap 'echo told; exit 3' TERM; echo ready; sleep 3600 & wait")
    run = lab.start("run", "--name", "r", *ALL, "--", *command)
    lab.wait_until_running("r", 3)
    logs = [lab.run_folder("r") / f"azureml-logs/node-{n}/70_driver_log_{n}.txt" for n in range(3)]
    lab.wait_until(lambda: all(log.exists() and log.read_text() == "ready\n" for log in logs))
    run.send_signal(signal.SIGINT)
    run.communicate()
    assert run.returncode == 130
    assert lab.show("r")["status"] == "Canceled"
    assert [log.read_text() for log in logs] == ["ready\ntold\n"] * 3


def test_the_agent_travels_to_a_host_once(lab: SshLab) -> None:
    for name in ("first", "second"):
        done = lab.run("run", "--name", name, "--hosts", "h1", "--code", "code", "--", "true")
        assert done.returncode == 0, done.stderr
    assert len(list(lab.bed.path("h1", "cache/regiment").glob("agent-*"))) == 1
