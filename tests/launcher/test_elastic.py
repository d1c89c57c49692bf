"""Elastic PyTorch jobs: nodes go and come, and the others go on, with real torchrun and torch.distributed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from .conftest import ENDLESS, GUARD, Lab

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
    lab.kill_node("r", 1)
    lab.wait_until(lambda: "1 0 1 0 1 rank_0" in worlds(lab, 0)[together:])
    assert lab.show("r")["status"] == "Running"
    alone = len(worlds(lab, 0))
    assert lab.run("rejoin", "r").returncode == 0
    lab.wait_until(lambda: any(world.startswith("2 ") for world in worlds(lab, 0)[alone:]))
    Path(lab.folder, "enough").touch()
    out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, out + err
    assert "the run goes on without node-1" in err
    assert [row["status"] for row in lab.status("r")] == ["Completed", "Completed"]


def test_a_run_that_loses_a_node_for_good_completes_on_the_others(lab: Lab) -> None:
    lab.write("count.py", COUNT)
    process = lab.start(*ELASTIC)
    lab.wait_until(lambda: worlds(lab, 1))
    lab.kill_node("r", 1)
    Path(lab.folder, "enough").touch()
    out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, out + err
    assert [row["status"] for row in lab.status("r")] == ["Completed", "Lost"]


def test_a_node_whose_torchrun_is_killed_is_lost_to_the_run_and_no_more(lab: Lab) -> None:
    lab.write("count.py", COUNT)
    process = lab.start(*ELASTIC)
    lab.wait_until(lambda: worlds(lab, 1))
    os.kill(torchrun(lab, lab.show("r")["nodes"][1]["agentPid"]), signal.SIGKILL)
    lab.wait_until(lambda: ("node-1", "lost") in [(e["nodeId"], e["state"]) for e in lab.events("r", "node")])
    Path(lab.folder, "enough").touch()
    out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, out + err
    assert "the run goes on without node-1" in err


def torchrun(lab: Lab, agent: int) -> int:
    """Give the one child of a node's agent whose command line is torchrun's."""
    (found,) = [pid for pid in lab.that_run(b"torch.distributed.run") if lab.parent(pid) == agent]
    return found


def test_the_rank_to_blame_is_called_what_it_called_itself(lab: Lab) -> None:
    lab.write(
        "fail.py",
        "import os\nif os.environ['RANK'] == '1': raise ValueError('bad batch')\nimport time; time.sleep(3600)",
    )
    flags = ("--name", "r", "--nodes", "2:2", "--nproc", "1", "--type", "pytorch", "--torchrun-arg=--max-restarts=0")
    result = lab.run("run", *flags, "--", "python", "fail.py")
    assert result.returncode == 1, result.stderr
    assert "rank 1 on node-" in result.stderr and "failed first: exit code 1" in result.stderr
    assert "ValueError: bad batch" in result.stderr


def test_a_run_cannot_do_without_node_0_where_all_meet(lab: Lab) -> None:
    lab.write("count.py", COUNT)
    process = lab.start(*ELASTIC)
    lab.wait_until(lambda: worlds(lab, 0))
    lab.kill_node("r", 0)
    out, err = process.communicate(timeout=GUARD)
    assert process.returncode == 3 and "node-0 is lost" in err, out + err


def test_rejoin_is_for_elastic_runs_that_have_lost_a_node(lab: Lab) -> None:
    process = lab.start("run", "--name", "r", "--", "sleep", ENDLESS)
    lab.wait_until_running("r", 1)
    refused = lab.run("rejoin", "r")
    assert refused.returncode == 2 and "is not elastic" in refused.stderr
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=GUARD)
    lab.wait_until(lambda: lab.events("r", "run_ended"))
    ended = lab.run("rejoin", "r")
    assert ended.returncode == 2 and "has ended" in ended.stderr
