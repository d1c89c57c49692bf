"""Which nodes a run takes inside a job of somebody's, and the command that starts it there."""

from __future__ import annotations

import pytest

from regiment.distribution.slurm.allocation import Allocation, allocation_of, nodes_taken, starting_command
from regiment.jobs.errors import UserError
from regiment.jobs.spec import ArgvCommand, Distribution, JobSpec, Plain, PyTorch

SHELL = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-4]"}
FOUND = Allocation("7", ("n1", "n2", "n3", "n4"), is_here=False)


def spec(distribution: Distribution, nodes: int) -> JobSpec:
    return JobSpec(ArgvCommand(("true",)), "e", distribution=distribution, instance_count=nodes)


def test_a_shell_of_sallocs_and_a_batch_script_are_in_an_allocation() -> None:
    assert allocation_of(SHELL) == FOUND
    batch = {**SHELL, "SLURMD_NODENAME": "n1"}
    assert allocation_of(batch) == Allocation("7", FOUND.nodes, is_here=True)
    assert allocation_of({**batch, "SLURM_STEP_ID": "4294967290"}) == allocation_of(batch)
    assert allocation_of({"SLURM_CONF": "there"}) is None


def test_what_srun_has_started_once_a_task_takes_no_nodes_unless_flux_is_to_give_them() -> None:
    task = {**SHELL, "SLURM_STEP_ID": "0"}
    assert allocation_of(task) is None
    assert allocation_of(task, "flux") == FOUND


@pytest.mark.parametrize(
    ("asked", "is_said", "nodes"),
    [
        (spec(PyTorch(1), 1), False, 4),
        (spec(PyTorch(1), 1), True, 1),
        (spec(PyTorch(1), 3), False, 3),
        (spec(Plain(), 1), False, 1),
    ],
)
def test_a_job_takes_all_nodes_where_nothing_says_how_many(asked: JobSpec, is_said: bool, nodes: int) -> None:
    assert nodes_taken(asked, FOUND, is_said) == nodes


def test_a_job_for_more_nodes_is_refused() -> None:
    with pytest.raises(UserError, match="asks for 5 nodes"):
        nodes_taken(spec(PyTorch(1), 5), FOUND, True)


def test_srun_and_flux_start_one_agent_a_node() -> None:
    agent = ("python", "-m", "regiment")
    assert starting_command("srun", 2, False, agent) == tuple(
        "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --overlap --cpu-bind=none --export=ALL --kill-on-bad-exit=0 "
        "--mpi=none --wait=0 --input=0 python -m regiment".split()
    )
    assert "--no-kill" in starting_command("srun", 2, True, agent)
    assert starting_command("flux", 2, False, agent) == tuple(
        "flux run --nodes=2 --ntasks=2 --input=0 python -m regiment".split()
    )
