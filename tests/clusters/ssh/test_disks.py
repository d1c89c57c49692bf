"""Hosts whose disk is full."""

from __future__ import annotations

import pytest

from .conftest import SshLab

pytestmark = pytest.mark.ssh


@pytest.mark.slow
def test_a_host_whose_disk_is_full_is_named_with_what_it_cannot_write(ssh_lab: SshLab) -> None:
    host, folder = ssh_lab.bed.hosts["h2"], str(ssh_lab.bed.own / "node")
    ssh_lab.write("code/large", "x" * 1_000_000)
    host.run("mount", "-t", "tmpfs", "-o", "size=256k", "none", folder)
    try:
        done = ssh_lab.run("run", "--name", "r", "--hosts", "h1,h2", "--code", "code", "--", "true")
        message = ssh_lab.show("r")["error"]["message"]
        assert done.returncode == 3, (done.stderr, message)
        assert "node-1" in message and "No space left on device" in message, message
    finally:
        host.run("umount", "--lazy", folder)
