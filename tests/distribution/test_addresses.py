"""Nodes' addresses for each other, from what each says of itself."""

from __future__ import annotations

import pytest

from regiment.distribution.addresses import Report, Trial, candidates, choose, unreached
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


TWO_NETWORKS = [report(f"10.0.0.{n}", f"eth0 10.0.0.{n}/24", f"eth1 10.1.0.{n}/24") for n in (1, 2, 3)]


def tried(*lost: str) -> list[Trial]:
    """Give what comes of it when node 0 and each other one try each other, and nobody answers at some addresses."""
    pairs = [(0, 1), (0, 2), (1, 0), (2, 0)]
    addresses = {target: (f"10.0.0.{target + 1}", f"10.1.0.{target + 1}") for target in range(3)}
    return [Trial(node, target, tuple(a for a in addresses[target] if a not in lost)) for node, target in pairs]


def test_each_node_is_tried_first_at_the_address_that_would_be_chosen() -> None:
    assert candidates(TWO_NETWORKS)[1] == ("10.0.0.2", "10.1.0.2")


def test_a_network_in_which_all_reach_each_other_is_taken_and_it_is_said_that_this_was_tried() -> None:
    found = choose(TWO_NETWORKS, tried())
    assert found.network == "10.0.0.0/24" and "and reach each other there" in found.reason


def test_a_network_in_which_a_node_is_not_reached_gives_way_to_another_and_the_pair_is_named() -> None:
    found = choose(TWO_NETWORKS, tried("10.0.0.3"))
    assert (found.network, [one.address for one in found.nodes]) == ("10.1.0.0/24", [f"10.1.0.{n}" for n in (1, 2, 3)])
    assert "not in 10.0.0.0/24: node-0 does not reach node-2 at 10.0.0.3" in found.reason


def test_without_such_a_network_each_node_has_an_address_at_which_it_was_reached() -> None:
    found = choose(TWO_NETWORKS, tried("10.0.0.3", "10.1.0.2"))
    assert found.network is None
    assert [one.address for one in found.nodes] == ["10.0.0.1", "10.0.0.2", "10.1.0.3"]


def test_a_node_that_answers_nowhere_is_named_and_changes_nothing_for_the_others() -> None:
    trials = tried("10.0.0.3", "10.1.0.3")
    assert [(trial.node, trial.target) for trial in unreached(trials)] == [(0, 2)]
    assert choose(TWO_NETWORKS, trials).network == "10.0.0.0/24"
