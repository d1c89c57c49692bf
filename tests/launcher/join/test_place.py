"""`regiment agent` on a node that its system has told its place, and `--explain`, which tells what was found of it."""

from __future__ import annotations

import json

from ..conftest import Lab
from .nodes import Joined, ended

PYTORCHJOB = {"PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "master-0", "PET_MASTER_PORT": "23456"}


def test_nodes_find_their_places_in_what_their_system_says(lab: Lab) -> None:
    joined = Joined(lab, 2)
    pods = [
        lab.start(
            *("agent", "--key-file", str(joined.key), "--name", "r", "--", "sh", "-c", "echo node $NODE_RANK"),
            PET_NNODES="2",
            PET_NODE_RANK=str(rank),
            PET_MASTER_ADDR="127.0.0.1",
            PET_MASTER_PORT=str(joined.port),
        )
        for rank in (1, 0)
    ]
    nodes = [ended(pod) for pod in pods]
    assert [node.returncode for node in nodes] == [0, 0], nodes
    assert "node 0" in nodes[1].stdout and "node 1" in nodes[1].stdout
    assert lab.statuses() == {"rank_0": "Completed", "rank_1": "Completed"}


def test_what_was_found_and_not_used_is_said(lab: Lab) -> None:
    joined = Joined(lab, 1)
    node = ended(lab.start("agent", "--name", "r", "--", "true", **{**joined.environ(0), **PYTORCHJOB}))
    assert node.returncode == 0, node
    assert "regiment: PET_NODE_RANK says 1, which REGIMENT_NODE_RANK overrides with 0\n" in node.stderr


def test_a_node_without_a_place_says_what_to_set(lab: Lab) -> None:
    node = lab.run("agent", "--", "true")
    assert node.returncode == 2
    assert node.stderr.startswith("regiment: nothing here tells this node's place; set REGIMENT_NODES (or --nodes) and")


def test_systems_that_disagree_are_a_sentence(lab: Lab) -> None:
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NODEID": "0", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "n[1-2]"}
    node = lab.run("agent", "--", "true", **PYTORCHJOB, **slurm, REGIMENT_KEY_FILE="run.key")
    assert node.returncode == 2
    assert node.stderr == (
        "regiment: the node rank is 0 for Slurm (SLURM_NODEID), but 1 for Kubeflow (PET_NODE_RANK); say which it is "
        "with REGIMENT_NODE_RANK or --node-rank\n"
    )


def test_explain_tells_what_was_found_what_was_taken_and_why(lab: Lab) -> None:
    told = lab.run("agent", "--explain", "--node-rank", "0", "--master", "here:1", **PYTORCHJOB, REGIMENT_KEY_FILE="k")
    assert told.returncode == 0, told.stderr
    assert told.stdout == (
        "flags say:\n"
        "  node rank 0, from --node-rank\n"
        "  master's address here, from --master\n"
        "  master's port 1, from --master\n"
        "variables say:\n"
        "  key file k, from REGIMENT_KEY_FILE\n"
        "Kubeflow says:\n"
        "  nodes 2, from PET_NNODES\n"
        "  node rank 1, from PET_NODE_RANK\n"
        "  master's address master-0, from PET_MASTER_ADDR\n"
        "  master's port 23456, from PET_MASTER_PORT\n"
        "This is node rank 0 of 2; node 0 listens at here:1.\n"
        "  nodes 2, from PET_NNODES: Kubeflow says so\n"
        "  node rank 0, from --node-rank: flags win over all else\n"
        "  master's address here, from --master: flags win over all else\n"
        "  master's port 1, from --master: flags win over all else\n"
        "  key file k, from REGIMENT_KEY_FILE: variables win over all else\n"
        "  PET_NODE_RANK says 1, which --node-rank overrides with 0\n"
        "  PET_MASTER_ADDR says master-0, which --master overrides with here\n"
        "  PET_MASTER_PORT says 23456, which --master overrides with 1\n"
    )


def test_explain_tells_programs_too_what_is_missing(lab: Lab) -> None:
    told = lab.run("agent", "--explain", "-o", "json", **PYTORCHJOB)
    assert told.returncode == 2
    data = json.loads(told.stdout)
    assert data["place"] is None
    assert data["error"].endswith("set REGIMENT_KEY_FILE (or --key-file)")
    assert [item["system"] for item in data["found"]] == ["Kubeflow"]
    assert lab.run("agent", "-o", "json", "--", "true", **PYTORCHJOB).returncode == 2
