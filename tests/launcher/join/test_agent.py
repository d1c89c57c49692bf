"""`regiment agent`: nodes that find each other over the network and are one run."""

from __future__ import annotations

from ..conftest import Lab
from .nodes import Joined


def test_two_nodes_are_one_run(lab: Lab) -> None:
    nodes = Joined(lab, 2).run("--", "sh", "-c", 'echo "$NODE_RANK of $WORLD_SIZE at $MASTER_ADDR"')
    assert [node.returncode for node in nodes] == [0, 0], nodes
    assert "0 of 2 at 127.0.0.1" in nodes[0].stdout and "1 of 2 at 127.0.0.1" in nodes[0].stdout
    assert "all 2 nodes here" in nodes[1].stderr and "run Completed" in nodes[1].stderr
    assert lab.statuses() == {"rank_0": "Completed", "rank_1": "Completed"}


def test_every_node_ends_with_the_runs_exit_status(lab: Lab) -> None:
    nodes = Joined(lab, 3).run("--", "sh", "-c", "exit $((NODE_RANK == 2 ? 7 : 0))")
    assert [node.returncode for node in nodes] == [1, 1, 1], nodes
    assert all("rank 2" in node.stderr for node in nodes)
