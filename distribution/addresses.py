"""Which address of each node all others are told, and so which interface its processes use.

Nodes report what the kernel knows (`launcher/node/interfaces.py`). What machines call themselves, or what their
`/etc/hosts` says of that, has no part in it: on many of them that is 127.0.1.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address, ip_interface

from regiment.jobs.dataclass import dataclass
from regiment.jobs.placement import Interface


@dataclass(frozen=True)
class Report:
    """What is known of one node's addresses."""

    reached_at: str
    """The one that faces whoever has called it, or whom it has called."""
    interfaces: tuple[Interface, ...]
    """All that it has, in the kernel's order."""


@dataclass(frozen=True)
class Trial:
    """What came of it when a node tried to reach another one, on real sockets."""

    node: int
    """Which of the nodes has tried."""
    target: int
    reached: tuple[str, ...]
    """The target's addresses at which it has answered; others are left out where all have at those preferred."""


@dataclass(frozen=True)
class Choice:
    """One node's address."""

    address: str
    interface: str | None
    """The interface that has it; None where that is not known."""


@dataclass(frozen=True)
class Addresses:
    """The addresses of all nodes, and why these."""

    nodes: tuple[Choice, ...]
    network: str | None
    """The network that all of them are in, as 10.0.0.0/16; None where there is no such one."""
    reason: str


def choose(reports: Sequence[Report], trials: Sequence[Trial] = ()) -> Addresses:
    """Give each node the address that all others reach it by, as far as that was tried.

    One network that all nodes are in comes before the addresses they were reached at: those may be in several, where
    a node is behind a gateway or is node 0 itself. Never chosen where another is left: an address that several nodes
    have, as the bridges of container engines and hypervisors have (docker0, virbr0).
    """
    counts = Counter(address for report in reports for address in {one.address for one in report.interfaces})
    usable = [tuple(one for one in report.interfaces if _is_usable(one, counts)) for report in reports]
    common = _common_networks(usable)
    # Who answers nowhere is no reason to choose another network.
    trials = [trial for trial in trials if trial.reached]
    closed = ""
    for network in sorted(common, key=lambda name: -_reached_in(name, reports, usable)):
        nodes = tuple(_in_network(network, report, own) for report, own in zip(reports, usable, strict=True))
        failed = next((one for one in trials if nodes[one.target].address not in one.reached), None)
        if failed is None:
            tried = ", and reach each other there" if trials else ""
            return Addresses(nodes, network, f"all nodes have an address of their own in {network}{tried}{closed}")
        where = nodes[failed.target].address
        closed += f" (not in {network}: node-{failed.node} does not reach node-{failed.target} at {where})"
    found = _everywhere(trials)
    nodes = tuple(
        _reached(found.get(index), own) or _alone(report, own)
        for index, (report, own) in enumerate(zip(reports, usable, strict=True))
    )
    kept = all(choice.address == report.reached_at for choice, report in zip(nodes, reports, strict=True))
    how = "the one it was reached at" if kept else "the one it was reached at, or its first that no other node has"
    why = "there is no network that all nodes have an address of their own in"
    if closed:
        why, how = f"there is no network in which all nodes reach each other{closed}", "one that others reach it at"
    return Addresses(nodes, None, f"{why}: each has {how}")


def candidates(reports: Sequence[Report]) -> tuple[tuple[str, ...], ...]:
    """Give the addresses that each node is to be tried at, the one first that is chosen where all can be reached."""
    counts = Counter(address for report in reports for address in {one.address for one in report.interfaces})
    return tuple(
        tuple(dict.fromkeys((chosen.address, *(one.address for one in report.interfaces if _is_usable(one, counts)))))
        for chosen, report in zip(choose(reports).nodes, reports, strict=True)
    )


def unreached(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Give the trials in which a node has answered nowhere."""
    return tuple(trial for trial in trials if not trial.reached)


def _is_usable(one: Interface, counts: Counter[str]) -> bool:
    address = ip_address(one.address)
    return counts[one.address] == 1 and not (address.is_loopback or address.is_link_local or address.is_unspecified)


def _network(one: Interface) -> str:
    return str(ip_interface(f"{one.address}/{one.prefix}").network)


def _common_networks(usable: Sequence[tuple[Interface, ...]]) -> list[str]:
    """Give the networks that every node has a usable address in, in node 0's order."""
    networks = [dict.fromkeys(map(_network, own)) for own in usable]
    return [name for name in networks[0] if all(name in of for of in networks)] if networks else []


def _reached_in(network: str, reports: Sequence[Report], usable: Sequence[tuple[Interface, ...]]) -> int:
    """Count the nodes that were reached in a network, which shows that packets get through there."""
    return sum(
        any(one.address == report.reached_at and _network(one) == network for one in own)
        for report, own in zip(reports, usable, strict=True)
    )


def _in_network(network: str, report: Report, own: tuple[Interface, ...]) -> Choice:
    inside = [one for one in own if _network(one) == network]
    chosen = next((one for one in inside if one.address == report.reached_at), inside[0])
    return Choice(chosen.address, chosen.name)


def _everywhere(trials: Sequence[Trial]) -> dict[int, frozenset[str]]:
    """Give for each node that was tried the addresses at which all have reached it that tried."""
    found: dict[int, frozenset[str]] = {}
    for trial in trials:
        found[trial.target] = found.get(trial.target, frozenset(trial.reached)).intersection(trial.reached)
    return found


def _reached(everywhere: frozenset[str] | None, own: tuple[Interface, ...]) -> Choice | None:
    return next((Choice(one.address, one.name) for one in own if everywhere and one.address in everywhere), None)


def _alone(report: Report, own: tuple[Interface, ...]) -> Choice:
    reached = next((one for one in report.interfaces if one.address == report.reached_at), None)
    if reached is None or reached in own or not own:
        # One that the node itself does not know is a router's, or that of a service in front of it.
        return Choice(report.reached_at, None if reached is None else reached.name)
    return Choice(own[0].address, own[0].name)
