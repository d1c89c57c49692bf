"""What a machine says of its addresses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from regiment.launcher.node.interfaces import interfaces

NETWORK = """
link set lo up
link add eth0 type veth peer name far
link set eth0 up
link set far up
addr add 10.7.0.1/24 dev eth0
addr add 10.8.0.1/16 dev eth0
addr add fd00:7::1/64 dev eth0 nodad
link add spare type veth peer name unplugged
link set spare up
addr add 10.9.0.1/24 dev spare
"""
ASK = """
from regiment.launcher.node.interfaces import interfaces
# The kernel finds out a moment later that there is nothing at its other end.
while any(one.name == "spare" for one in interfaces()):
    pass
print(*interfaces(), sep="\\n")
"""


def test_each_address_is_one_of_this_machine_that_others_may_reach() -> None:
    for one in interfaces():
        assert one.name in [name for _, name in socket.if_nameindex()]
        family = socket.AF_INET6 if ":" in one.address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((one.address, 0))
        assert not one.address.startswith("127.")


@pytest.mark.ssh
def test_all_addresses_of_interfaces_that_are_connected_are_told_and_no_others() -> None:
    # A namespace of its own is a machine that has what is made here, and nothing else.
    script = f"ip -batch - && exec '{sys.executable}' -c \"$ASK\""
    argv = ("unshare", "--net", "bash", "-c", script)
    done = subprocess.run(
        argv, input=NETWORK, env={**os.environ, "ASK": ASK}, text=True, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Interface(name='eth0', address='10.7.0.1', prefix=24)",
        "Interface(name='eth0', address='10.8.0.1', prefix=16)",
        "Interface(name='eth0', address='fd00:7::1', prefix=64)",
    ]
