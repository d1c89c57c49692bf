"""Hosts that are cut off from an elastic run: the others start nothing anew before they have ended what they ran."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial

import pytest

from .conftest import SshLab

pytestmark = [pytest.mark.ssh, pytest.mark.torch, pytest.mark.slow]

# Writes down all the time that it is alive, and with how many nodes. All hosts have this one machine's clock.
LIVES = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ["HOST"] == "h2" else signal.SIG_DFL)
own, nodes = os.environ["XDG_CACHE_HOME"], os.environ["REGIMENT_NODE_COUNT"]
with open(f"{own}/lives", "a", buffering=1) as file:
    while not os.path.exists(f"{own}/stop"):
        file.write(f"{nodes} {time.monotonic()}\\n")
        time.sleep(0.02)
"""


@pytest.fixture
def lab(ssh_lab: SshLab) -> Iterator[SshLab]:
    """Give a lab with the code, whose hosts forget afterwards what was written there."""
    ssh_lab.write("code/lives.py", LIVES)
    yield ssh_lab
    for name in ssh_lab.bed.hosts:
        for file in ("lives", "stop"):
            ssh_lab.bed.path(name, f"cache/{file}").unlink(missing_ok=True)


def lives(lab: SshLab, name: str) -> list[tuple[int, float]]:
    """Give with how many nodes and when something lived on a host."""
    path = lab.bed.path(name, "cache/lives")
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [(int(count), float(at)) for count, at in (line.split() for line in lines)]


def is_alive_with(lab: SshLab, name: str, count: int) -> bool:
    return any(nodes == count for nodes, _ in lives(lab, name))


def noticed_after(lab: SshLab, cut_at: float) -> float:
    """Give after how many seconds the coordinator knew a node to be lost, by its own record."""
    lab.wait_until(lambda: any(event["state"] == "lost" for event in lab.events("r", "node")))
    lost = next(event for event in lab.events("r", "node") if event["state"] == "lost")
    return datetime.fromisoformat(lost["timeUtc"].replace("Z", "+00:00")).timestamp() - cut_at


def test_of_an_elastic_run_that_is_cut_in_two_exactly_one_attempt_is_alive(lab: SshLab) -> None:
    elastic = ("--nodes", "1:2", "--nproc", "1", "--type", "pytorch", "--hosts", "h1,h2", "--code", "code")
    run = lab.start("run", "--name", "r", *elastic, "--", "sh", "-c", "HOST=$(hostname) exec python lives.py")
    try:
        lab.wait_until(lambda: is_alive_with(lab, "h1", 2) and is_alive_with(lab, "h2", 2))
        lab.bed.cut("h2")
        assert noticed_after(lab, time.time()) < 10
        lab.wait_until(
            lambda: "for h2's processes (node-1) to have ended by themselves" in str(lab.events("r", "note"))
        )
        lab.wait_until(lambda: is_alive_with(lab, "h1", 1))
        both = max(at for name in ("h1", "h2") for nodes, at in lives(lab, name) if nodes == 2)
        alone = min(at for nodes, at in lives(lab, "h1") if nodes == 1)
        assert both < alone
        # Nobody has told it, and nothing is left there.
        lab.wait_until(partial(lab.bed.is_clean, "h2"))
    finally:
        lab.bed.mend("h2")
    lab.bed.path("h1", "cache/stop").touch()
    _, err = run.communicate()
    assert run.returncode == 0, err
    lab.bed.remove_kept("h2")
