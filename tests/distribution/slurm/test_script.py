"""Whole scripts are kept as files that somebody who knows Slurm can read; REGIMENT_GOLDEN=write writes them anew."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from regiment.distribution.mpirun import Flavour, Mpirun
from regiment.distribution.planner import make_plan
from regiment.distribution.slurm.script import Target, sbatch_script
from regiment.jobs.dataclass import replace
from regiment.jobs.placement import Node, Placement
from regiment.jobs.plain import to_plain
from regiment.jobs.spec import ArgvCommand, Container, ContainerRuntime, JobSpec, Mpi, Options, PyTorch

GOLDEN = Path(__file__).parent / "golden"
JOB = JobSpec(
    command=ArgvCommand(("python", "train.py")),
    experiment_name="digits",
    instance_count=4,
    distribution=PyTorch(process_count_per_instance=8),
)
FOLDER = "/shared/me/.regiment/runs/digits-1"
TARGET = Target(
    name="gpu",
    sbatch={"partition": "a100", "account": "physics", "gpus-per-node": "8", "time": "12:00:00"},
    run_id="digits-1",
    folder=f"{FOLDER}/logs/azureml",
    log=f"{FOLDER}/logs/azureml/slurm.log",
    agent=("/opt/python/bin/python", "-m", "regiment", "agent", "--run", FOLDER),
)
CONTAINER = Container(
    ContainerRuntime.PYXIS,
    "nvcr.io#nvidia/pytorch:24.01-py3",
    ("/data", "/scratch:/tmp"),
    ("--no-container-remap-root",),
)
MOUNTS = ("/shared/me/.regiment", "/shared/me/my code")
SCRIPTS = {
    "plain": (JOB, TARGET),
    "options": (
        replace(
            JOB,
            options=Options(
                grace=10.0,
                preemption_grace=300.0,
                slurm={
                    "exclusive": True,
                    "partition": "h100",
                    "comment": 'it\'s a "test" of $HOME; # no comment',
                    "gpus-per-node": False,
                    "no-requeue": True,
                    "exclude": "n[1-3,7]",
                },
            ),
        ),
        TARGET,
    ),
    "elastic": (replace(JOB, options=Options(min_nodes=2), timeout=3600.0), replace(TARGET, sbatch={})),
    "pyxis": (replace(JOB, options=Options(container=CONTAINER)), replace(TARGET, mounts=MOUNTS)),
    "apptainer": (
        replace(
            JOB,
            options=Options(
                container=replace(
                    CONTAINER, runtime=ContainerRuntime.APPTAINER, image="/images/a b.sif", flags=("--cleanenv",)
                )
            ),
        ),
        replace(TARGET, mounts=MOUNTS),
    ),
    "blanks": (
        replace(JOB, distribution=Mpi(process_count_per_instance=2), options=Options(slurm={"signal": False})),
        replace(TARGET, sbatch={}, folder="/my runs/logs", log="/my runs/logs/slurm.log", agent=("/a b/python", "x'y")),
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_as_its_golden_file(name: str) -> None:
    path, script = GOLDEN / f"{name}.sh", sbatch_script(*SCRIPTS[name])
    if os.environ.get("REGIMENT_GOLDEN") == "write":
        path.write_text(script)
    assert script == path.read_text()
    subprocess.run(("bash", "-n", str(path)), check=True)


def test_the_step_that_starts_mpis_ranks_is_as_its_golden_file() -> None:
    nodes = tuple(Node(k, f"node-{k}", f"n{k}", f"10.0.0.{k}", 2, (0, 1), "/venv/bin/python") for k in range(2))
    job = replace(JOB, distribution=Mpi(process_count_per_instance=2))
    srun = Mpirun("/usr/bin/srun", Flavour.SRUN, "22.05.8")
    plan = make_plan(job, Placement(nodes, "{port}", "10.0.0.0/24"), "r", 0, srun)
    text = json.dumps([to_plain(node.launcher) for node in plan.nodes], indent=2) + "\n"
    path = GOLDEN / "srun_mpi.json"
    if os.environ.get("REGIMENT_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_last_line_is_one_srun_and_there_is_no_other_command(name: str) -> None:
    lines = [line for line in sbatch_script(*SCRIPTS[name]).splitlines() if line and not line.startswith("#")]
    assert len(lines) == 1
    assert lines[0].startswith("exec srun ")


def test_what_the_job_says_goes_before_what_its_target_says() -> None:
    script = sbatch_script(*SCRIPTS["options"])
    assert "--partition=h100" in script
    assert "a100" not in script
    assert "gpus-per-node" not in script


def test_each_option_is_given_once() -> None:
    job = replace(JOB, options=Options(slurm={"cpus-per-task": "4", "signal": "TERM@30", "time": "10"}), timeout=60.0)
    lines = [line.partition("=")[0] for line in sbatch_script(job, TARGET).splitlines() if line.startswith("#SBATCH")]
    assert sorted(set(lines)) == sorted(lines)
