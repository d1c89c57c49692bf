"""Runs on nodes that somebody has got from Slurm already."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from tests.launcher.conftest import GUARD

from .conftest import SlurmLab

pytestmark = pytest.mark.slurm

JOB = """
command: {command}
distribution: {{type: pytorch, process_count_per_instance: 1}}
regiment: {{start_method: spawn, grace: 2}}
"""
SALLOC = ("salloc", "--quiet", "--nodes=3", "--ntasks=6")
REGIMENT = (sys.executable, "-m", "regiment")


def prepared(lab: SlurmLab, command: str) -> SlurmLab:
    lab.write("job.yml", JOB.format(command=command))
    return lab


def test_a_run_takes_the_nodes_that_salloc_has_got(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "echo rank $RANK of $WORLD_SIZE on $(hostname)")
    process = lab.start_program([*SALLOC, *REGIMENT, "run", "job.yml", "--name", "r"], {})
    out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, err
    assert sorted(out.splitlines()) == [f"[node-{k} rank {k}] rank {k} of 3 on n{k + 1}" for k in range(3)]
    assert lab.show("r")["status"] == "Completed"


def test_a_line_of_somebodys_script_runs_on_some_of_its_nodes_and_gives_the_exit_status(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "echo $WORLD_SIZE; exit 7")
    line = " ".join((*REGIMENT, "run job.yml --name r --nodes 2 --pass-exit-code"))
    lab.write("job.sh", f"#!/bin/bash\n#SBATCH --nodes=3\n{line}\necho $? > status\nmv status done\n")
    lab.start_program(["sbatch", "job.sh"], {}).communicate(timeout=GUARD)
    lab.wait_until((lab.folder / "done").exists)
    assert (lab.folder / "done").read_text() == "7\n"
    assert {row["status"] for row in lab.status("r")} <= {"Failed", "Stopped"}
    assert len(lab.status("r")) == 2


def test_such_a_run_ends_with_the_command_that_started_it_and_the_allocation_stays(slurm_lab: SlurmLab) -> None:
    """And what that is told of the end of its time it passes on."""
    lab = prepared(slurm_lab, "trap 'echo noticed' USR1; echo ready; while :; do sleep 3600 & wait; done")
    line = " ".join((*REGIMENT, "run job.yml --name"))
    first = f"{line} r & echo $! > pid; wait $!; echo $? > first"
    second = f"{line} s & echo $! > second; wait; echo $? > third"
    process = lab.start_program([*SALLOC, "bash", "-c", f"{first}; {second}"], {})
    logs = [lab.run_folder("r") / f"azureml-logs/node-{k}/70_driver_log_{k}.txt" for k in range(3)]
    lab.wait_until(lambda: all(path.exists() and "ready" in path.read_text() for path in logs))
    os.kill(int((lab.folder / "pid").read_text()), signal.SIGUSR1)
    lab.wait_until(lambda: all("noticed" in path.read_text() for path in logs))
    assert lab.run("cancel", "r").returncode == 0
    lab.wait_until_running("s", 3)
    assert (lab.folder / "first").read_text() == "4\n"
    os.kill(int((lab.folder / "second").read_text()), signal.SIGKILL)
    process.communicate(timeout=GUARD)
    # salloc waits for no step: what ends the run on its nodes may do so a little later.
    lab.wait_until(lambda: json.loads((lab.run_folder("s") / "run.json").read_text())["status"] == "Canceled")
    assert lab.show("s")["status"] == "Canceled"


def test_more_nodes_than_there_are_and_detached_runs_are_refused_with_a_sentence(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "echo")
    inside = {"SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "n[1-3]"}
    done = lab.run("run", "job.yml", "--nodes", "4", **inside)
    assert done.returncode == 2
    assert "the job asks for 4 nodes, and Slurm's job 123456, in which this runs, has 3" in done.stderr
    assert "--detach: the nodes go with Slurm's job" in lab.run("run", "job.yml", "--detach", **inside).stderr


def test_a_run_whose_nodes_cannot_be_started_has_failed_and_names_the_log(slurm_lab: SlurmLab) -> None:
    lab = prepared(slurm_lab, "echo")
    done = lab.run("run", "job.yml", "--name", "r", SLURM_JOB_ID="123456", SLURM_JOB_NODELIST="n[1-3]")
    assert done.returncode == 3
    assert "see logs/azureml/slurm.log" in done.stderr
    assert "Invalid job id" in (lab.run_folder("r") / "logs/azureml/slurm.log").read_text()
    assert lab.show("r")["status"] == "Failed"
