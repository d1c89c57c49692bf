"""Connections that break, and hosts that are cut off, while a job runs on them."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from .conftest import SshLab

pytestmark = pytest.mark.ssh

COUNTS = "i=0; while [ ! -e stop ]; do i=$((i+1)); echo line $i; sleep 0.05; done"
"""Prints numbered lines until there is a file `stop` beside it."""


@pytest.fixture
def lab(ssh_lab: SshLab) -> SshLab:
    """Give a lab with some code."""
    ssh_lab.write("code/count.sh", COUNTS)
    return ssh_lab


def log(lab: SshLab, node: int) -> list[str]:
    path = lab.run_folder("r") / f"azureml-logs/node-{node}/70_driver_log_{node}.txt"
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []  # Not there yet, or the link to the attempt's logs is just being set anew.


def counters(lab: SshLab, name: str) -> list[int]:
    """Give the shells that count on a host, without what they fork and what has not become a `sleep` yet."""
    shells = [pid for pid in lab.bed.hosts[name].processes() if lab.command_line(pid) == b"sh\0count.sh\0"]
    return [pid for pid in shells if lab.parent(pid) not in (*shells, None)]


def has_lines(lab: SshLab, node: int, count: int) -> bool:
    return len(log(lab, node)) > count


def working_folder(lab: SshLab, name: str) -> Path:
    """Give the folder in which the processes on a host work, as seen from here."""
    found = list(lab.bed.path(name, "node").glob("**/count.sh"))
    copies = [path.parent for path in found if "/code/" not in str(path) or path.parent.name != "code"]
    assert len(copies) == 1, found
    return copies[0]


def test_a_broken_connection_is_made_again_and_no_line_is_lost_or_doubled(lab: SshLab) -> None:
    run = lab.start("run", "--name", "r", "--hosts", "h1,h2", "--code", "code", "--", "sh", "count.sh")
    lab.wait_until(lambda: len(log(lab, 0)) > 5 and len(log(lab, 1)) > 5)
    for _ in range(3):
        wanted = len(log(lab, 1)) + 20
        lab.bed.kill_ssh("h2", all_of_it=False)
        lab.wait_until(partial(has_lines, lab, 1, wanted))
    for name in ("h1", "h2"):
        (working_folder(lab, name) / "stop").touch()
    out, err = run.communicate()
    assert run.returncode == 0, err
    for node in (0, 1):
        assert log(lab, node) == [f"line {n}" for n in range(1, len(log(lab, node)) + 1)]
    assert sorted(out.splitlines()) == sorted(f"[node-{n} rank {n}] {line}" for n in (0, 1) for line in log(lab, n))


def test_a_short_partition_and_a_coordinator_that_stalls_are_not_noticed_by_the_job(lab: SshLab) -> None:
    run = lab.start("run", "--name", "r", "--hosts", "h1,h2", "--code", "code", "--", "sh", "count.sh")
    lab.wait_until(lambda: len(log(lab, 0)) > 5 and len(log(lab, 1)) > 5)
    lab.bed.cut("h2")
    time.sleep(2)  # It is the length of the partition, and not what is waited for.
    lab.bed.mend("h2")
    lab.wait_until(partial(has_lines, lab, 1, len(log(lab, 1)) + 20))
    coordinator = lab.show("r")["coordinator"]["pid"]
    os.kill(coordinator, signal.SIGSTOP)
    time.sleep(6)  # As it may wait for a disk.
    os.kill(coordinator, signal.SIGCONT)
    lab.wait_until(partial(has_lines, lab, 1, len(log(lab, 1)) + 140))
    for name in ("h1", "h2"):
        (working_folder(lab, name) / "stop").touch()
    _, err = run.communicate()
    assert run.returncode == 0, err
    assert log(lab, 1) == [f"line {n}" for n in range(1, len(log(lab, 1)) + 1)]


@pytest.mark.slow
def test_a_host_that_is_cut_off_is_lost_in_ten_seconds_and_ends_what_it_runs(lab: SshLab) -> None:
    run = lab.start("run", "--name", "r", "--hosts", "h1,h2", "--code", "code", "--grace", "1", "--", "sh", "count.sh")
    lab.wait_until(lambda: len(log(lab, 0)) > 5 and len(log(lab, 1)) > 5)
    lab.bed.cut("h2")
    try:
        _, err = run.communicate()
        assert run.returncode == 3, err
        assert "node-1 was lost" in lab.show("r")["error"]["message"]
        # Nobody can tell it so. It is the host itself that ends what it runs, and it leaves nothing.
        lab.wait_until(partial(lab.bed.is_clean, "h2"))
    finally:
        lab.bed.mend("h2")
        lab.bed.remove_kept("h2")


@pytest.mark.slow
def test_after_a_long_partition_exactly_one_attempt_is_alive(lab: SshLab) -> None:
    lab.write(
        "job.yml",
        "command: echo attempt $REGIMENT_ATTEMPT; sh count.sh\ncode: code\n"
        "resources: {instance_count: 2}\nregiment: {grace: 1, restarts: {infrastructure: 3}}\n",
    )
    run = lab.start("run", "job.yml", "--name", "r", "--hosts", "h1,h2")
    lab.wait_until(lambda: len(log(lab, 0)) > 5 and len(log(lab, 1)) > 5)
    lab.bed.cut("h2")
    lab.wait_until(lambda: lab.events("r", "attempt_ended"))
    lab.bed.mend("h2")
    lab.wait_until(lambda: len(lines := log(lab, 1)) > 5 and lines[0] == "attempt 1")
    assert [len(counters(lab, name)) for name in ("h1", "h2")] == [1, 1]
    for name in ("h1", "h2"):
        (working_folder(lab, name) / "stop").touch()
    _, err = run.communicate()
    assert run.returncode == 0, err


@pytest.mark.slow
def test_a_coordinator_that_is_killed_takes_the_run_on_all_hosts_along(lab: SshLab) -> None:
    run = lab.start("run", "--name", "r", "--hosts", "h1,h2", "--code", "code", "--", "sh", "count.sh")
    lab.wait_until(lambda: len(log(lab, 0)) > 5 and len(log(lab, 1)) > 5)
    os.kill(lab.show("r")["coordinator"]["pid"], signal.SIGKILL)
    run.communicate()
    assert run.returncode == 3
    for name in ("h1", "h2"):
        lab.wait_until(partial(lab.bed.is_clean, name))
        lab.bed.remove_kept(name)
