"""Nodes' addresses for each other, from what each says of itself."""

from __future__ import annotations

import pytest

from regiment.distribution.addresses import Report, choose
from regiment.jobs.placement import Interface


def report(reached_at: str, *interfaces: str) -> Report:
    """Make a report out of `eth0 10.0.0.1/24` and so on."""
    words = (text.replace("/", " ").split() for text in interfaces)
    return Report(reached_at, tuple(Interface(name, address, int(prefix)) for name, address, prefix in words))


DOCKER = "docker0 172.17.0.1/16"
CASES = {
    "the only network": (
        [report("10.0.0.1", "eth0 10.0.0.1/24"), report("10.0.0.2", "eth0 10.0.0.2/24")],
        ["eth0 10.0.0.1", "eth0 10.0.0.2"],
        "10.0.0.0/24",
    ),
    "interfaces with other names": (
        [report("10.0.0.1", "eth0 10.0.0.1/24"), report("10.0.0.2", "enp3s0f1 10.0.0.2/24")],
        ["eth0 10.0.0.1", "enp3s0f1 10.0.0.2"],
        "10.0.0.0/24",
    ),
    "a bridge that every node has with the same address": (
        [report("10.0.0.1", DOCKER, "eth0 10.0.0.1/24"), report("10.0.0.2", DOCKER, "eth0 10.0.0.2/24")],
        ["eth0 10.0.0.1", "eth0 10.0.0.2"],
        "10.0.0.0/24",
    ),
    "two networks, of which nodes were reached in the second": (
        [
            report("10.1.0.1", "eth0 10.0.0.1/24", "eth1 10.1.0.1/24"),
            report("10.1.0.2", "eth0 10.0.0.2/24", "eth1 10.1.0.2/24"),
        ],
        ["eth1 10.1.0.1", "eth1 10.1.0.2"],
        "10.1.0.0/24",
    ),
    "nodes that were reached in different networks and have one in common": (
        [
            report("192.168.7.1", "eth0 192.168.7.1/24", "ib0 10.9.0.1/16"),
            report("192.168.8.1", "eth0 192.168.8.1/24", "ib1 10.9.1.1/16"),
        ],
        ["ib0 10.9.0.1", "ib1 10.9.1.1"],
        "10.9.0.0/16",
    ),
    "node 0 that was reached at its loopback address": (
        [report("127.0.0.1", "eth0 10.0.0.1/24"), report("10.0.0.2", "eth0 10.0.0.2/24")],
        ["eth0 10.0.0.1", "eth0 10.0.0.2"],
        "10.0.0.0/24",
    ),
    "networks with a router between them": (
        [report("10.0.0.1", DOCKER, "eth0 10.0.0.1/24"), report("10.0.1.1", DOCKER, "eth0 10.0.1.1/24")],
        ["eth0 10.0.0.1", "eth0 10.0.1.1"],
        None,
    ),
    "an address that is a router's": (
        [report("203.0.113.5", "eth0 10.0.0.1/24"), report("10.0.1.1", "eth0 10.0.1.1/24")],
        ["None 203.0.113.5", "eth0 10.0.1.1"],
        None,
    ),
    "a node that was reached at an address which another has too": (
        [report("172.17.0.1", DOCKER, "eth0 10.0.0.1/24"), report("10.0.1.1", DOCKER, "eth0 10.0.1.1/24")],
        ["eth0 10.0.0.1", "eth0 10.0.1.1"],
        None,
    ),
    "IPv6 alone": (
        [report("fd00::1", "eth0 fe80::1/64", "eth0 fd00::1/64"), report("fd00::2", "eth0 fd00::2/64")],
        ["eth0 fd00::1", "eth0 fd00::2"],
        "fd00::/64",
    ),
    "nodes of one machine": (
        [report("10.0.0.1", "eth0 10.0.0.1/24"), report("10.0.0.1", "eth0 10.0.0.1/24")],
        ["eth0 10.0.0.1", "eth0 10.0.0.1"],
        None,
    ),
    "a node that cannot say what it has": (
        [report("10.0.0.1", "eth0 10.0.0.1/24"), report("10.0.0.2")],
        ["eth0 10.0.0.1", "None 10.0.0.2"],
        None,
    ),
    "a single node": ([report("10.0.0.1", "eth0 10.0.0.1/24")], ["eth0 10.0.0.1"], "10.0.0.0/24"),
}


@pytest.mark.parametrize(("reports", "expected", "network"), CASES.values(), ids=CASES)
def test_each_node_gets_the_address_that_all_others_reach(
    reports: list[Report], expected: list[str], network: str | None
) -> None:
    found = choose(reports)
    assert [f"{choice.interface} {choice.address}" for choice in found.nodes] == expected
    assert found.network == network
    assert found.reason.startswith("there is no network" if network is None else "all nodes have an address")
