"""MPI's ranks started by Slurm itself, as a step beside the agents', and supervised by these all the same."""

from __future__ import annotations

import json
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
# Its task is stopped before the rank ends, and can say nothing of that any more: Slurm's plugin kills it as soon as it
# hears of a rank that has ended without MPI_Finalize. The others wait in a collective, as they do in training.
FAIL = """
import os, pathlib, signal, sys
from mpi4py import MPI
world = MPI.COMM_WORLD
world.barrier()
if world.rank == 2:
    def is_ours(process):
        try:
            words, variables = ((process / name).read_bytes().split(b"\\0") for name in ("cmdline", "environ"))
        except OSError:
            return False  # It has ended meanwhile.
        return b"standin" in words and b"PMIX_RANK=2" in variables
    [task] = [int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*") if is_ours(path)]
    os.kill(task, signal.SIGSTOP)
    print("no more", flush=True)
    {end}
world.barrier()
"""
WAIT = """
import os, signal, sys, time
from mpi4py import MPI
signal.signal(signal.SIGUSR1, lambda *_: print("noticed", flush=True))
signal.signal(signal.SIGTERM, lambda *_: (print("told", flush=True), os._exit(3)))
MPI.COMM_WORLD.barrier()
print("met", flush=True)
while True:
    time.sleep(600)
"""


def submit(lab: SlurmLab, source: str, *flags: str) -> tuple[str, ...]:
    """Write the job and give the words that run it on two nodes, two ranks each."""
    lab.write("train.py", source)
    assert lab.run("compute", "add", "gpu", "--type", "slurm", "--partition", "main").returncode == 0
    command = ("--nodes", "2", "--nproc", "2", "--type", "mpi", "--mpirun", "srun", "--name", "r", "--compute", "gpu")
    return ("run", *command, *flags, "--", "python", "train.py")


def log_of(lab: SlurmLab, rank: int) -> str:
    path = lab.run_folder("r") / "azureml-logs" / f"node-{rank // 2}" / f"70_driver_log_{rank}.txt"
    return path.read_text("utf-8") if path.exists() else ""


def test_slurm_starts_the_ranks_and_each_has_its_log_and_its_status(slurm_lab: SlurmLab) -> None:
    """On those nodes of an allocation that the run has."""
    lab = slurm_lab
    lab.write("train.py", HELLO)
    flags = ("--nodes", "2", "--nproc", "2", "--type", "mpi", "--mpirun", "srun", "--name", "r")
    line = (sys.executable, "-m", "regiment", "run", *flags, "--", "python", "train.py")
    done = lab.start_program(["salloc", "--quiet", "--nodes=3", "--ntasks=6", *line], {})
    out, err = done.communicate(timeout=GUARD)
    assert done.returncode == 0, out + err
    rows = {row["rank"]: (row["nodeId"], row["status"], row["exitCode"]) for row in lab.status("r")}
    assert rows == {rank: (f"node-{rank // 2}", "Completed", 0) for rank in range(4)}
    assert [log_of(lab, rank) for rank in range(4)] == [f"sum 6 {rank} node-{rank // 2}\n" for rank in range(4)]
    argv = json.loads((lab.run_folder("r") / "plan.json").read_text())["nodes"][0]["launcher"]["argv"]
    assert argv[1:3] == ["--mpi=pmix", "--overlap"]


@pytest.mark.parametrize(("end", "exit_code"), [("os._exit(7)", 7), ("world.Abort(5)", 5)])
def test_a_rank_that_fails_is_named_with_its_exit_code_although_slurm_kills_its_task(
    slurm_lab: SlurmLab, end: str, exit_code: int
) -> None:
    lab = slurm_lab
    done = lab.run(*submit(lab, FAIL.format(end=end)))
    assert done.returncode == 1, done.stdout + done.stderr
    rows = {row["rank"]: row for row in lab.status("r")}
    assert (rows[2]["status"], rows[2]["exitCode"], rows[2]["firstFailure"]) == ("Failed", exit_code, True)
    assert [rank for rank, row in rows.items() if row["firstFailure"]] == [2]
    assert f"rank 2 on node-1 failed first: exit code {exit_code}" in done.stderr


def test_ranks_have_slurms_signals_once_whether_their_tasks_get_them_or_their_agents(slurm_lab: SlurmLab) -> None:
    lab = slurm_lab
    assert lab.run(*submit(lab, WAIT, "--detach")).returncode == 0
    lab.wait_until(lambda: all("met" in log_of(lab, rank) for rank in range(4)))
    job_id = lab.show("r")["scheduler"]["jobId"]
    lab.cluster.ask("scancel", "--signal=USR1", job_id)
    lab.wait_until(lambda: all("noticed" in log_of(lab, rank) for rank in range(4)))
    lab.cluster.ask("scancel", job_id)
    waited = lab.run("wait", "r")
    assert waited.returncode == 5, waited.stderr
    assert {log_of(lab, rank) for rank in range(4)} == {"met\nnoticed\ntold\n"}


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
    for where in ((), ("--hosts", "nobody", "--detach")):
        done = slurm_lab.run("run", *flags, *where, "--", "python", "train.py")
        assert done.returncode == 2, done.stdout + done.stderr
        assert "submit to a compute target of type slurm" in done.stderr
