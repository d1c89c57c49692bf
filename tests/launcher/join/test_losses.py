"""Nodes of a run over a network that come late, twice or not at all, and that are lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import ENDLESS, Lab
from .nodes import Joined, ended


def sleeping(lab: Lab, count: int) -> tuple[str, ...]:
    """Give a command that comes to life on all nodes and never ends."""
    return "--", "sh", "-c", f"{lab.everybody(count)}; sleep {ENDLESS}"


def all_started(lab: Lab, nodes: Joined, *flags: str) -> list[subprocess.Popen[str]]:
    """Start all nodes, and wait until their processes run."""
    started = [nodes.start(rank, *flags, *sleeping(lab, nodes.count)) for rank in range(nodes.count)]
    lab.wait_until(lambda: all((lab.folder / f"came-{rank}").exists() for rank in range(nodes.count)))
    return started


def test_a_second_node_with_one_rank_is_refused_with_both_named(lab: Lab) -> None:
    nodes = Joined(lab, 3)
    first, second = (nodes.start(rank, "--", "true") for rank in (0, 1))
    lab.wait_until(lambda: events_of(lab).exists() and "node-1" in str(lab.events("r", "node")))
    twin = ended(nodes.start(1, "--", "true"))
    assert twin.returncode == 2
    assert "node rank 1 is taken: " in twin.stderr and twin.stderr.count("(127.0.0.1)") == 2, twin.stderr
    third = nodes.start(2, "--", "true")
    assert [ended(node).returncode for node in (first, second, third)] == [0, 0, 0]
    assert any("node rank 1 is taken" in note["text"] for note in lab.events("r", "note"))


def events_of(lab: Lab) -> Path:
    return lab.run_folder("r") / "events.jsonl"


def test_a_second_node_0_is_told_who_listens_there(lab: Lab) -> None:
    nodes = Joined(lab, 2)
    first = nodes.start(0, "--", "true")
    lab.wait_until(lambda: events_of(lab).exists())
    twin = ended(nodes.start(0, "--", "true"))
    assert twin.returncode == 2 and "second node 0" in twin.stderr
    second = nodes.start(1, "--", "true")
    assert [ended(first).returncode, ended(second).returncode] == [0, 0]


def test_a_rank_beyond_the_nodes_is_refused(lab: Lab) -> None:
    nodes = Joined(lab, 2)
    first = nodes.start(0, "--", "true")
    stranger = ended(nodes.start(2, "--", "true", REGIMENT_NODES="3"))
    assert stranger.returncode == 2 and "no node rank 2 in a run with 2 nodes" in stranger.stderr
    second = nodes.start(1, "--", "true")
    assert [ended(first).returncode, ended(second).returncode] == [0, 0]


@pytest.mark.slow
def test_a_node_that_never_comes_ends_the_run_on_all_nodes(lab: Lab) -> None:
    nodes = Joined(lab, 4)
    started = [nodes.start(rank, "--start-timeout", "8", "--", "true") for rank in (0, 1)]
    first, second = (ended(node) for node in started)
    assert (first.returncode, second.returncode) == (3, 3)
    assert "node-2 has not come within 8 s; nor has rank 3" in first.stderr
    assert "2 of 4 nodes here, waiting for ranks 2, 3, " in second.stderr
    assert "node-2 has not come" in second.stderr


def test_nodes_wait_for_node_0_no_longer_than_they_should(lab: Lab) -> None:
    node = ended(Joined(lab, 2).start(1, "--start-timeout", "1", "--", "true"))
    assert node.returncode == 3 and "has not answered within 1 s (Connection refused)" in node.stderr


def kill_relay(node: subprocess.Popen[str]) -> None:
    node.kill()


def stop_relay(node: subprocess.Popen[str]) -> None:
    os.kill(node.pid, signal.SIGSTOP)


@pytest.mark.slow
@pytest.mark.parametrize(("lose", "words"), [(kill_relay, "connection is broken"), (stop_relay, "does not answer")])
def test_a_lost_node_ends_the_run_within_ten_seconds(
    lab: Lab, lose: Callable[[subprocess.Popen[str]], None], words: str
) -> None:
    first, second, third = all_started(lab, Joined(lab, 3))
    lose(third)
    lost_at = time.monotonic()
    lab.wait_until(lambda: len(lab.events("r", "run_ended")) == 1)
    assert time.monotonic() - lost_at < 10
    nodes = [ended(first), ended(second)]
    assert [node.returncode for node in nodes] == [3, 3]
    assert all(f"node-2 was lost: its {'agent ' if lose is stop_relay else ''}{words}" in n.stderr for n in nodes)
    if lose is stop_relay:
        # Its lease is nothing that it could end. Its agent notices that no word comes any more.
        lab.wait_until(lambda: not any(lab.command_line(pid).startswith(b"sleep") for pid in lab.processes()))
        os.kill(third.pid, signal.SIGCONT)
        assert ended(third).returncode == 3  # And its ranks with it, as the lab finds.


def test_an_agent_that_dies_ends_the_run_and_its_node_hears_how(lab: Lab) -> None:
    first, second = all_started(lab, Joined(lab, 2))
    os.kill(lab.show("r")["nodes"][1]["agentPid"], signal.SIGKILL)
    nodes = [ended(first), ended(second)]
    assert [node.returncode for node in nodes] == [3, 3]
    assert "node-1 was lost: its agent ended unexpectedly" in nodes[1].stderr


def test_nodes_that_lose_their_coordinator_end_what_they_run(lab: Lab) -> None:
    first, second = all_started(lab, Joined(lab, 2))
    os.kill(lab.show("r")["coordinator"]["pid"], signal.SIGKILL)
    other = ended(second)
    assert other.returncode == 3 and "has hung up; this node ends what it runs" in other.stderr
    assert ended(first).returncode == 3


@pytest.mark.slow
def test_nodes_whose_coordinator_says_nothing_more_end_what_they_run(lab: Lab) -> None:
    first, second = all_started(lab, Joined(lab, 2))
    coordinator = lab.show("r")["coordinator"]["pid"]
    os.kill(coordinator, signal.SIGSTOP)
    other = ended(second)
    assert other.returncode == 3 and "has not heard of this node for 12 s" in other.stderr
    os.kill(coordinator, signal.SIGCONT)
    assert ended(first).returncode == 3


def test_a_cancelled_run_is_cancelled_on_all_nodes(lab: Lab) -> None:
    first, second = all_started(lab, Joined(lab, 2), "--grace", "1")
    assert lab.run("cancel", "r").returncode == 0
    assert [ended(first).returncode, ended(second).returncode] == [4, 4]


def everybody_twice(lab: Lab, count: int) -> tuple[str, ...]:
    """Give a command that hangs on all nodes in the first attempt, and ends well in the second."""
    return "--", "sh", "-c", f"[ $REGIMENT_ATTEMPT = 1 ] && exit; {lab.everybody(count)}; sleep {ENDLESS}"


def test_a_node_whose_agent_died_takes_part_in_the_next_attempt(lab: Lab) -> None:
    nodes = Joined(lab, 2)
    started = [nodes.start(rank, "--max-restarts", "1", *everybody_twice(lab, 2)) for rank in (0, 1)]
    lab.wait_until(lambda: all((lab.folder / f"came-{rank}").exists() for rank in (0, 1)))
    os.kill(lab.show("r")["nodes"][1]["agentPid"], signal.SIGKILL)
    ends = [ended(node) for node in started]
    assert [node.returncode for node in ends] == [0, 0], ends


def test_a_node_that_was_started_again_takes_part_in_the_next_attempt(lab: Lab) -> None:
    nodes = Joined(lab, 2)
    first, second = (nodes.start(rank, "--max-restarts", "1", *everybody_twice(lab, 2)) for rank in (0, 1))
    lab.wait_until(lambda: all((lab.folder / f"came-{rank}").exists() for rank in (0, 1)))
    second.kill()
    again = nodes.start(1, "--", "true")
    assert [ended(first).returncode, ended(again).returncode] == [0, 0]
