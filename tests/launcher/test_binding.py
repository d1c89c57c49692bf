"""`--bind`: on which processors the processes really are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from regiment.distribution.shares import shares

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


def test_a_numa_node_is_never_left(lab: Lab) -> None:
    found = seen(lab, *SPAWN, "--bind", "numa", nproc=2)
    assert all(found)
    assert all(set(cpus) <= set(here()) for cpus in found)


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
