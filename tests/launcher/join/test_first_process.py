"""`regiment agent` as the first process of a container: signals, orphans, and a time in which all has to end."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from ..conftest import ENDLESS, Lab
from .nodes import Joined, ended
from .test_losses import all_started

_USER = () if os.getuid() == 0 else ("--user", "--map-root-user")
_CONTAINER = ("unshare", *_USER, "--pid", "--fork", "--kill-child", "--mount-proc")
"""A process tree of its own, whose first process the next program is."""


def first_process(lab: Lab, container: subprocess.Popen[str]) -> int:
    return next(pid for pid in lab.processes() if lab.parent(pid) == container.pid)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_node_that_is_stopped_ends_the_run_as_preempted(lab: Lab, rank: int) -> None:
    started = all_started(lab, Joined(lab, 2), "--grace", ENDLESS)
    began = time.monotonic()
    started[rank].terminate()
    nodes = [ended(node) for node in started]
    assert time.monotonic() - began < 10
    assert [node.returncode for node in nodes] == [5, 5]
    assert all(f"preempted: the agent of node-{rank} got SIGTERM" in node.stderr for node in nodes)


def test_processes_that_will_not_end_are_killed_within_the_containers_grace(lab: Lab) -> None:
    nodes = Joined(lab, 2)
    command = f"trap '' TERM; {lab.everybody(2)}; while :; do sleep 0.05; done"
    started = [nodes.start(r, "--stop-grace", "5", "--grace", ENDLESS, "--", "sh", "-c", command) for r in (0, 1)]
    lab.wait_until(lambda: all((lab.folder / f"came-{r}").exists() for r in (0, 1)))
    started[1].terminate()
    assert [ended(node).returncode for node in started] == [5, 5]


def test_the_first_process_of_a_container_takes_signals_and_reaps(lab: Lab) -> None:
    nodes = Joined(lab, 2)
    command = f"(setsid sleep 0.1 &) ; {lab.everybody(2)}; sleep {ENDLESS}"
    arguments = ("--", "sh", "-c", command)
    first = nodes.start(0, *arguments)
    container = nodes.start(1, *arguments, prefix=(*_CONTAINER, "env", "-u", "HOME"))
    lab.wait_until(lambda: all((lab.folder / f"came-{rank}").exists() for rank in (0, 1)))
    os.kill(first_process(lab, container), signal.SIGTERM)
    assert [ended(first).returncode, ended(container).returncode] == [5, 5]


def test_a_first_process_that_still_waits_ends_at_once(lab: Lab) -> None:
    container = Joined(lab, 2).start(1, "--", "true", prefix=_CONTAINER)
    lab.wait_until(lambda: lab.that_run(b"regiment\0agent"))
    lab.wait_until(lambda: any((lab.folder / ".regiment").rglob("agent-*.zip")))  # From then on it dials.
    os.kill(first_process(lab, container), signal.SIGTERM)
    assert ended(container).returncode == 143
