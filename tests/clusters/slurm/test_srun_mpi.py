"""MPI's ranks started by Slurm itself, as a step beside the agents', and supervised by these all the same."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.launcher.conftest import GUARD

from .conftest import SlurmLab

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.mpi]

HELLO = """
import os
from mpi4py import MPI
world = MPI.COMM_WORLD
print("sum", world.allreduce(world.rank), os.environ["RANK"], os.environ["AZ_BATCH_NODE_ID"], flush=True)
assert (world.rank, world.size) == (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
assert "PMIX_RANK" in os.environ and "SLURM_PROCID" not in os.environ
"""
# The others wait in a collective for a rank that has failed, as they do in training.
FAIL = """
import os
from mpi4py import MPI
world = MPI.COMM_WORLD
world.barrier()
if world.rank == 2:
    print("no more", flush=True)
    os._exit(7)
world.barrier()
"""
WAIT = """
from mpi4py import MPI
import time
MPI.COMM_WORLD.barrier()
open("/proc/self/fd/1", "w").write("met\\n")
time.sleep(600)
"""


def submit(lab: SlurmLab, source: str, *flags: str) -> tuple[str, ...]:
    """Write the job and give the words that run it on two nodes, two ranks each."""
    (lab.folder / "train.py").write_text(source)
    assert lab.run("compute", "add", "gpu", "--type", "slurm", "--partition", "main").returncode == 0
    command = ("--nodes", "2", "--nproc", "2", "--type", "mpi", "--mpirun", "srun", "--name", "r", "--compute", "gpu")
    return ("run", *command, *flags, "--", "python", "train.py")


def test_slurm_starts_the_ranks_and_each_has_its_log_and_its_status(slurm_lab: SlurmLab) -> None:
    lab = slurm_lab
    done = lab.run(*submit(lab, HELLO))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["rank"]: (row["nodeId"], row["status"], row["exitCode"]) for row in lab.status("r")}
    assert rows == {rank: (f"node-{rank // 2}", "Completed", 0) for rank in range(4)}
    logs = lab.run_folder("r") / "azureml-logs"
    for rank in range(4):
        text = (logs / f"node-{rank // 2}" / f"70_driver_log_{rank}.txt").read_text()
        assert text == f"sum 6 {rank} node-{rank // 2}\n"
    argv = json.loads((lab.run_folder("r") / "plan.json").read_text())["nodes"][0]["launcher"]["argv"]
    assert argv[1:3] == ["--mpi=pmix", "--overlap"]


def test_a_rank_that_fails_under_srun_is_the_one_that_is_named(slurm_lab: SlurmLab) -> None:
    lab = slurm_lab
    done = lab.run(*submit(lab, FAIL))
    assert done.returncode == 1, done.stdout + done.stderr
    rows = {row["rank"]: row for row in lab.status("r")}
    assert (rows[2]["status"], rows[2]["exitCode"], rows[2]["firstFailure"]) == ("Failed", 7, True)
    assert [rank for rank, row in rows.items() if row["firstFailure"]] == [2]


def test_a_run_whose_ranks_srun_started_is_cancelled_whole(slurm_lab: SlurmLab) -> None:
    lab = slurm_lab
    assert lab.run(*submit(lab, WAIT, "--detach")).returncode == 0
    log = lab.run_folder("r") / "azureml-logs/node-1/70_driver_log_3.txt"
    lab.wait_until(lambda: log.exists() and "met" in log.read_text())
    assert lab.run("cancel", "r").returncode == 0
    assert lab.run("wait", "r").returncode == 4
    assert {row["signal"] for row in lab.status("r")} == {signal.SIGTERM.name}


def test_srun_starts_ranks_on_those_nodes_of_an_allocation_that_the_run_has(slurm_lab: SlurmLab) -> None:
    lab = slurm_lab
    (lab.folder / "train.py").write_text(HELLO)
    flags = ("--nodes", "2", "--nproc", "1", "--type", "mpi", "--mpirun", "srun", "--name", "r")
    line = (sys.executable, "-m", "regiment", "run", *flags, "--", "python", "train.py")
    done = lab.start_program(["salloc", "--quiet", "--nodes=3", "--ntasks=6", *line], {})
    out, err = done.communicate(timeout=GUARD)
    assert done.returncode == 0, out + err
    assert [row["status"] for row in lab.status("r")] == ["Completed"] * 2


def test_a_slurm_without_pmix_is_refused_with_a_sentence(slurm_lab: SlurmLab, tmp_path: Path) -> None:
    lab = slurm_lab
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for path in next(Path("/usr/lib").glob("*/slurm-wlm")).glob("*.so"):
        if not path.name.startswith("mpi_pmix"):
            (plugins / path.name).symlink_to(path)
    conf = tmp_path / "slurm.conf"
    conf.write_text(f"{Path(lab.cluster.environ['SLURM_CONF']).read_text()}PluginDir={plugins}\n")
    flags = ("--nproc", "2", "--type", "mpi", "--mpirun", "srun")
    done = lab.run("plan", *flags, "--", "python", "train.py", SLURM_CONF=str(conf))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "this Slurm has no PMIx plugin" in done.stderr


def test_srun_is_refused_for_a_run_that_is_not_on_nodes_of_slurms(slurm_lab: SlurmLab) -> None:
    flags = ("--nproc", "2", "--type", "mpi", "--mpirun", "srun")
    done = slurm_lab.run("run", *flags, "--", "python", "train.py")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "submit to a compute target of type slurm" in done.stderr
