"""`--bind`: on which processors the processes really are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from regiment.distribution.shares import shares
from regiment.launcher.node.processes import numa_nodes

from .conftest import Lab

SHOW = "import os; print(sorted(os.sched_getaffinity(0)), os.environ['LOCAL_RANK'])"
PYTORCH = ("--type", "pytorch")
SPAWN = (*PYTORCH, "--start-method", "spawn")


@contextmanager
def only_on(cpus: set[int]) -> Iterator[None]:
    """Be, with all that is started, on these processors alone."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def seen(lab: Lab, *flags: str, nproc: int) -> list[list[int]]:
    """Give the processors that the processes of one node saw, by local rank."""
    result = lab.run("run", "--name", "r", "--nproc", str(nproc), *flags, "--", "python", "-c", SHOW)
    assert result.returncode == 0, result.stderr
    found = [lab.log("r", f"70_driver_log_{rank}.txt").rpartition(" ")[0] for rank in range(nproc)]
    return [json.loads(line) for line in found]


def here() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def even_shares(nproc: int) -> list[list[int]]:
    return [list(share) for share in shares(here(), nproc)]


def test_each_process_has_processors_of_its_own(lab: Lab) -> None:
    assert seen(lab, *SPAWN, "--bind", "cpus", nproc=2) == even_shares(2)


def test_forked_processes_have_too(lab: Lab) -> None:
    flags = (*PYTORCH, "--start-method", "fork", "--preload", "json", "--bind", "cpus")
    assert seen(lab, *flags, nproc=2) == even_shares(2)
    assert len(lab.events("r", "note")) == 0


@pytest.mark.torch
@pytest.mark.slow
def test_under_torchrun_too(lab: Lab) -> None:
    assert seen(lab, *PYTORCH, "--bind", "cpus", nproc=2) == even_shares(2)


def test_without_it_all_have_all(lab: Lab) -> None:
    assert seen(lab, *SPAWN, nproc=2) == [here()] * 2


def test_many_processes_share_the_only_processor(lab: Lab) -> None:
    first = here()[0]
    with only_on({first}):
        assert seen(lab, *SPAWN, "--bind", "cpus", nproc=3) == [[first]] * 3


@pytest.mark.mpi
@pytest.mark.slow
def test_under_mpirun_too(lab: Lab) -> None:
    assert seen(lab, "--type", "mpi", "--bind", "cpus", nproc=2) == even_shares(2)


@pytest.mark.skipif(not numa_nodes(), reason="this machine does not say what NUMA nodes it has")
def test_each_process_has_a_numa_node(lab: Lab) -> None:
    groups = [sorted({*cpus} & {*here()}) for cpus in numa_nodes() if {*cpus} & {*here()}]
    expected = [groups[0], groups[len(groups) // 2]]
    flags = (*SPAWN, "--bind", "numa")
    assert seen(lab, *flags, nproc=2) == expected
    # On a machine of one NUMA node the processes have what they would have anyway; the plan tells that they were bound.
    planned = json.loads(lab.run("plan", "--nproc", "2", *flags, "-o", "json", "--", "true").stdout)
    assert [process["cpus"] for process in planned["nodes"][0]["processes"]] == expected
    planned = json.loads(lab.run("plan", "--nproc", "2", *SPAWN, "-o", "json", "--", "true").stdout)
    assert [process["cpus"] for process in planned["nodes"][0]["processes"]] == [[], []]


def test_emulated_nodes_bind_within_their_share(lab: Lab) -> None:
    flags = ("--name", "r", "--nodes", "2", "--nproc", "2", *SPAWN, "--bind", "cpus")
    result = lab.run("run", *flags, "--", "python", "-c", SHOW)
    assert result.returncode == 0, result.stderr
    expected = [list(cpus) for node in shares(here(), 2) for cpus in shares(node, 2)]
    logs = [lab.log("r", f"node-{rank // 2}/70_driver_log_{rank}.txt") for rank in range(4)]
    assert [json.loads(log.rpartition(" ")[0]) for log in logs] == expected


def test_the_job_file_says_it_and_the_plan_shows_it(lab: Lab) -> None:
    lab.write(
        "job.yml",
        "command: 'true'\ndistribution: {type: pytorch, process_count_per_instance: 2}\n"
        "regiment: {start_method: spawn, bind: cpus}\n",
    )
    planned = json.loads(lab.run("plan", "job.yml", "-o", "json").stdout)
    assert [process["cpus"] for process in planned["nodes"][0]["processes"]] == even_shares(2)
    shown = ",".join(map(str, even_shares(2)[0]))
    assert f"rank 0 (local rank 0, CPUs {shown})" in lab.run("plan", "job.yml").stdout
