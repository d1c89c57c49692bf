"""The snapshot reaches many hosts through each other: the link of the machine that submits carries it once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .conftest import SshLab

pytestmark = [pytest.mark.ssh, pytest.mark.slow]
SIZE = 20_000_000


@pytest.fixture
def lab(ssh_lab: SshLab) -> SshLab:
    """Give a lab with a large file in its code, whose hosts have the agent already."""
    (ssh_lab.folder / "code/deep").mkdir(parents=True)
    (ssh_lab.folder / "code/deep/blob").write_bytes(os.urandom(SIZE))
    ssh_lab.write("code/tool", "#!/bin/sh\nsha256sum < deep/blob\n").chmod(0o755)
    ssh_lab.write("little/empty", "")
    warm = ssh_lab.run("run", "--hosts", "h[1-6]", "--code", "little", "--", "true")
    assert warm.returncode == 0, warm.stderr
    return ssh_lab


@contextmanager
def cut_off_from_the_others(lab: SshLab, index: int) -> Iterator[None]:
    """Let a host reach the machine that submits, and no other host."""
    others = [other for other in range(1, 7) if other != index]
    host = lab.bed.hosts[f"h{index}"]
    host.network("\n".join(f"route add unreachable {lab.bed.net}.{other}" for other in others))
    try:
        yield
    finally:
        host.network("\n".join(f"route del unreachable {lab.bed.net}.{other}" for other in others))


def run_it(lab: SshLab) -> int:
    """Run a job that needs all of the code; gives how many bytes were sent for that."""
    before = lab.bed.bytes_sent
    done = lab.run("run", "--name", "r", "--hosts", "h[1-6]", "--code", "code", "--", "./tool")
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256((lab.folder / "code/deep/blob").read_bytes()).hexdigest()
    assert [line.split()[-2] for line in done.stdout.splitlines()] == [digest] * 6
    return lab.bed.bytes_sent - before


def said_of_the_code(lab: SshLab) -> list[str]:
    """Give the run's warnings of how its code was sent."""
    return [row["message"] for row in lab.show("r")["warnings"] if "the code goes" in row["message"]]


def test_six_hosts_get_twenty_megabytes_for_less_than_twice_that(lab: SshLab) -> None:
    assert SIZE < run_it(lab) < 2 * SIZE
    assert said_of_the_code(lab) == []


def test_hosts_that_cannot_reach_each_other_get_it_from_here_and_that_is_said(lab: SshLab) -> None:
    with cut_off_from_the_others(lab, 6):
        run_it(lab)
    (warning,) = said_of_the_code(lab)
    assert "of the code from another node" in warning
