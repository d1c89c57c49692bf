"""`ledger: true`: the processes themselves tell where their start went, however they are started."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from .conftest import Lab
from .test_timeline import check_order, phases, timeline

PYTORCH = ("run", "--ledger", "--name", "r", "--nodes", "2", "--nproc", "1", "--type", "pytorch")
WITH_OWN_IMPORT = """\
import os
if os.environ["RANK"] == "1":
    import slow_one
from regiment import Run
Run.get_context().mark("loaded")
Run.get_context().mark("first step")
open(f"done-{os.environ['RANK']}", "w").close()
"""
SLOW = "import time\ntime.sleep(0.3)\n"
SLOWER_THAN_ALL = """\
import os, time
while not os.path.exists("done-0"): time.sleep(0.01)
def since(name): return time.time() - os.path.getmtime(name)
time.sleep(0.3 + max(2 * since("begun"), 1.2 * since("begun-before")))
"""
"""A module that takes longer than all that the other process, and all that another run, took for anything: however
busy the machine is, nothing else is as slow."""
TRAIN = """\
import torch, torch.distributed as dist
dist.init_process_group("gloo")
model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(2):
    model(torch.ones(2)).sum().backward()
    optimizer.step()
dist.destroy_process_group()
"""


def ran(lab: Lab, *arguments: str) -> dict[str, Any]:
    """Run a job to its good end, and give its timeline."""
    result = lab.run(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    data = timeline(lab, "r")
    check_order(data)
    return data


def of_ranks(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [rank for node in data["nodes"] for rank in node["ranks"]]


def seconds(rank: dict[str, Any], phase: str) -> float:
    return float(next(span["seconds"] for span in rank["phases"] if span["phase"] == phase))


@pytest.mark.slow
def test_a_slow_import_on_one_rank_is_named_and_marks_are_on_the_timeline(lab: Lab) -> None:
    lab.write("slow_one.py", SLOWER_THAN_ALL)
    lab.write("begun-before", "")
    lab.write("train.py", WITH_OWN_IMPORT.replace('== "1"', '== "none"'))
    before = ("quick" if word == "r" else word for word in PYTORCH)
    assert lab.run(*before, "--start-method", "spawn", "--", "python", "train.py").returncode == 0
    (lab.folder / "done-0").unlink()
    lab.write("begun", "")
    lab.write("train.py", WITH_OWN_IMPORT)
    data = ran(lab, *PYTORCH, "--start-method", "spawn", "--", "python", "train.py")
    slowest = data["slowest"]
    assert (slowest["nodeId"], slowest["rank"], slowest["phase"]) == ("node-1", 1, "imports")
    assert slowest["text"] == "slow_one" and slowest["standsOut"]
    for rank in of_ranks(data):
        assert phases(rank["phases"])[:2] == ["spawned", "interpreter up"]
        assert rank["phases"][-1]["phase"] == "first step"
        assert {"loaded", "first step"} <= {detail["text"] for detail in rank["details"]}
    text = lab.run("show", "r", "--timeline").stdout
    assert "slowest  node-1, rank 1: " in text and " s for 'imports' (slow_one), where others took " in text
    assert "not known: own code, rendezvous\n" in text
    result = lab.run("show", "r", "--timeline", "--diff", "quick")
    assert " s slower in 'imports': node-1, rank 1 took " in result.stdout, result.stdout
    changed = json.loads(lab.run("show", "r", "--timeline", "--diff", "quick", "-o", "json").stdout)["phases"]
    assert next(row for row in changed if row["phase"] == "imports")["isSlower"]


def test_each_attempt_has_a_ledger_of_its_own_and_preload_is_in_it(lab: Lab) -> None:
    lab.write("slow_one.py", SLOW)
    lab.write("train.py", "import os, sys; sys.exit(os.environ['REGIMENT_ATTEMPT'] == '0')\n")
    lab.write(
        "job.yml",
        "command: python train.py\ncode: .\ndistribution: {type: pytorch, process_count_per_instance: 2}\n"
        "regiment: {start_method: fork, preload: [slow_one], ledger: true, restarts: 1}\n",
    )
    ran(lab, "run", "job.yml", "--name", "r")
    for attempt in range(2):
        data = timeline(lab, "r", "--attempt", str(attempt))
        preload = [span for span in data["nodes"][0]["phases"] if span["phase"] == "preload"]
        assert [span["text"] for span in preload] == ["slow_one"]
        assert all("interpreter up" in phases(rank["phases"]) for rank in of_ranks(data))
        assert (lab.run_folder("r") / f"attempts/{attempt}/ledger.jsonl").is_file()


def test_without_it_nothing_is_told_and_the_time_for_inputs_is_known_all_the_same(lab: Lab) -> None:
    lab.write("data/one.txt", "1")
    lab.write(
        "job.yml",
        "command: cat ${{inputs.data}}/one.txt; python -c 'import json'\ncode: src\n"
        "inputs: {data: {type: uri_folder, path: data, mode: download}}\n",
    )
    lab.write("src/x.py", "")
    data = ran(lab, "run", "job.yml", "--name", "r")
    assert "inputs" in phases(data["nodes"][0]["phases"])
    assert [phases(rank["phases"]) for rank in of_ranks(data)] == [["spawned"]]


def test_marks_are_for_a_job_and_in_one_line(lab: Lab) -> None:
    program = """
from regiment import Experiment, Run, UserError, Workspace
run = Experiment(Workspace(".regiment"), "e").start_logging()
for of, mark in ((run, "here"), (Run.get_context(), "two\\nlines"), (Run.get_context(), "")):
    try:
        of.mark(mark)
    except UserError as error:
        print(error)
Run.get_context().mark("here")
run.complete()
"""
    lines = lab.script(program).stdout.splitlines()
    assert "this process is none of run" in lines[0]
    assert all("expected a line of text" in line for line in lines[1:3])
    assert lines[3] == "Attempted to mark here"


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork", "torchrun"])
def test_pytorch_tells_all_phases_however_it_is_started(lab: Lab, method: str) -> None:
    lab.write("train.py", TRAIN)
    data = ran(lab, *PYTORCH, "--start-method", method, "--", "python", "train.py")
    assert data["unknown"] == (["inputs"] if method == "fork" else ["inputs", "preload"])
    for rank in of_ranks(data):
        meeting = next(span for span in rank["phases"] if span["phase"] == "rendezvous")
        assert meeting["text"] == "torch.distributed.init_process_group"
        assert rank["phases"][-1]["text"] == "SGD.step"
        assert method == "fork" or "torch" in {detail["text"] for detail in rank["details"]}


@pytest.mark.mpi
@pytest.mark.slow
def test_mpi4py_tells_of_mpi_init(lab: Lab) -> None:
    lab.write("train.py", "from mpi4py import MPI\nMPI.COMM_WORLD.barrier()\n")
    mpi = ("--type", "mpi", "--mpirun", f"{sys.prefix}/bin/mpirun")
    data = ran(lab, "run", "--ledger", "--name", "r", "--nodes", "2", *mpi, "--", "python", "train.py")
    for rank in of_ranks(data):
        assert phases(rank["phases"])[-1] == "rendezvous"
        assert rank["phases"][-1]["text"] == "MPI_Init"


@pytest.mark.horovod
@pytest.mark.slow
def test_horovod_tells_of_its_init_and_of_the_first_step(lab: Lab) -> None:
    lab.write(
        "train.py",
        "import torch, horovod.torch as hvd\nhvd.init()\nmodel = torch.nn.Linear(2, 2)\n"
        "optimizer = hvd.DistributedOptimizer(torch.optim.SGD(model.parameters(), 0.1))\n"
        "model(torch.ones(2)).sum().backward()\noptimizer.step()\n",
    )
    mpi = ("--type", "mpi", "--nproc", "2", "--mpirun", f"{sys.prefix}/bin/mpirun")
    data = ran(lab, "run", "--ledger", "--name", "r", *mpi, "--", "python", "train.py")
    for rank in of_ranks(data):
        assert {span["text"] for span in rank["phases"] if span["phase"] == "rendezvous"} == {"hvd.init"}
        assert phases(rank["phases"])[-1] == "first step"


@pytest.mark.tensorflow
@pytest.mark.slow
def test_tensorflow_tells_when_its_workers_have_met(lab: Lab) -> None:
    lab.write("train.py", "import tensorflow as tf\ntf.distribute.MultiWorkerMirroredStrategy()\n")
    flags = ("--type", "tensorflow", "--workers", "2", "--nodes", "2")
    data = ran(lab, "run", "--ledger", "--name", "r", *flags, "--", "python", "train.py")
    for rank in of_ranks(data):
        assert seconds(rank, "imports") > 0
        assert rank["phases"][-1]["text"] == "tf.distribute.MultiWorkerMirroredStrategy"
