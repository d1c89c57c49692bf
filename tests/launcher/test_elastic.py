"""Elastic PyTorch jobs: nodes go and come, and the others go on, with real torchrun and torch.distributed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .conftest import Lab

pytestmark = [pytest.mark.torch, pytest.mark.slow]

# Counts with all that are there until a file says that it is enough.
COUNT = """
import os, time
import torch, torch.distributed as dist
dist.init_process_group("gloo")
names = "RANK WORLD_SIZE NODE_RANK REGIMENT_NODE_COUNT AZUREML_PROCESS_NAME".split()
seen = False
while True:
    enough = torch.tensor([int(os.path.exists("enough")), 1])
    dist.all_reduce(enough)
    if not seen:
        print("world", enough[1].item(), *(os.environ[name] for name in names), flush=True)
        seen = True
    if enough[0]:
        break
    time.sleep(0.05)
dist.barrier()
dist.destroy_process_group()
"""
ELASTIC = ("run", "--name", "r", "--nodes", "1:2", "--nproc", "1", "--type", "pytorch", "--", "python", "count.py")


def kill_node(lab: Lab, index: int) -> None:
    node = lab.show("r")["nodes"][index]
    for pid in (node["keeperPid"], node["agentPid"]):
        os.kill(pid, signal.SIGKILL)


def worlds(lab: Lab, index: int) -> list[str]:
    path = lab.run_folder("r") / "azureml-logs" / f"node-{index}" / f"70_driver_log_{index}.txt"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [line.removeprefix("world ") for line in lines if line.startswith("world ")]


def test_a_run_goes_on_without_a_node_it_lost_and_with_it_when_it_comes_back(lab: Lab) -> None:
    lab.write("count.py", COUNT)
    process = lab.start(*ELASTIC)
    # torchrun gives the ranks; which node has which is its own affair.
    both = ["2 0 2 0 2 rank_0", "2 1 2 1 2 rank_1"]
    lab.wait_until(lambda: sorted(worlds(lab, 0)[-1:] + worlds(lab, 1)[-1:]) == both)
    together = len(worlds(lab, 0))
    kill_node(lab, 1)
    lab.wait_until(lambda: "1 0 1 0 1 rank_0" in worlds(lab, 0)[together:])
    assert lab.show("r")["status"] == "Running"
    alone = len(worlds(lab, 0))
    assert lab.run("rejoin", "r").returncode == 0
    lab.wait_until(lambda: any(world.startswith("2 ") for world in worlds(lab, 0)[alone:]))
    Path(lab.folder, "enough").touch()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert "the run goes on without node-1" in err
    assert [row["status"] for row in lab.status("r")] == ["Completed", "Completed"]


def test_a_run_that_loses_a_node_for_good_completes_on_the_others(lab: Lab) -> None:
    lab.write("count.py", COUNT)
    process = lab.start(*ELASTIC)
    lab.wait_until(lambda: worlds(lab, 1))
    kill_node(lab, 1)
    Path(lab.folder, "enough").touch()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert [row["status"] for row in lab.status("r")] == ["Completed", "Lost"]


def test_a_run_cannot_do_without_node_0_where_all_meet(lab: Lab) -> None:
    lab.write("count.py", COUNT)
    process = lab.start(*ELASTIC)
    lab.wait_until(lambda: worlds(lab, 0))
    kill_node(lab, 0)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 3 and "node-0 is lost" in err, out + err


def test_rejoin_is_for_elastic_runs_that_have_lost_a_node(lab: Lab) -> None:
    process = lab.start("run", "--name", "r", "--", "sleep", "60")
    lab.wait_until_running("r", 1)
    refused = lab.run("rejoin", "r")
    assert refused.returncode == 2 and "is not elastic" in refused.stderr
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    ended = lab.run("rejoin", "r")
    assert ended.returncode == 2 and "has ended" in ended.stderr
