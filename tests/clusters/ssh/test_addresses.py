"""Hosts that the coordinator reaches, and that do not reach each other everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .conftest import SshLab

pytestmark = pytest.mark.ssh

OTHER = f"10.253.{os.getpid() & 255}"
"""A second network, beside the one that the coordinator is in."""


@pytest.fixture
def lab(ssh_lab: SshLab) -> Iterator[SshLab]:
    """Give a lab in whose first network nothing gets from h1 to h2, nor back; the coordinator reaches both."""
    ssh_lab.write("code/none", "")
    hosts, net = ssh_lab.bed.hosts, ssh_lab.bed.net
    hosts["h1"].network(f"route add blackhole {net}.2/32")
    hosts["h2"].network(f"route add blackhole {net}.1/32")
    yield ssh_lab
    hosts["h1"].network(f"route del blackhole {net}.2/32")
    hosts["h2"].network(f"route del blackhole {net}.1/32")


def run_on_all(lab: SshLab, *flags: str) -> tuple[int, str]:
    """Run something on all hosts; gives its exit status and what was said of it."""
    done = lab.run(
        "run", "--name", "r", "--hosts", "h[1-3]", "--code", "code", *flags, "--", "sh", "-c", "echo $MASTER_ADDR"
    )
    return done.returncode, done.stdout + done.stderr


def test_the_network_is_taken_in_which_all_hosts_reach_each_other(lab: SshLab) -> None:
    for index, host in enumerate(lab.bed.hosts.values(), 1):
        host.network(f"addr add {OTHER}.{index}/24 dev eth0")
    try:
        status, said = run_on_all(lab, "--type", "pytorch", "--nproc", "1", "--start-method", "spawn")
        assert (status, said.count(f"{OTHER}.1\n")) == (0, 3), said
        (event,) = lab.events("r", "addresses")
        assert f"all nodes have an address of their own in {OTHER}.0/24, and reach each other there" in event["reason"]
        assert f"not in {lab.bed.net}.0/24: node-1 does not reach node-0 at {lab.bed.net}.1" in event["reason"]
    finally:
        for index, host in enumerate(lab.bed.hosts.values(), 1):
            host.network(f"addr del {OTHER}.{index}/24 dev eth0")


def test_two_hosts_that_do_not_reach_each_other_are_named_before_anything_hangs(lab: SshLab) -> None:
    status, said = run_on_all(lab, "--type", "pytorch", "--nproc", "1", "--start-method", "spawn")
    assert status == 3, said
    error = lab.show("r")["error"]["message"]
    assert f"node-1 (h2) cannot reach node-0 (h1) at {lab.bed.net}.1" in error and "let connections between" in error


def test_commands_that_need_not_meet_run_on_them_all_the_same(lab: SshLab) -> None:
    status, said = run_on_all(lab)
    assert status == 0 and f"node-1 (h2) cannot reach node-0 (h1) at {lab.bed.net}.1" in said
