"""The addresses that a run's nodes have for each other, from what each has said of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from regiment.distribution.addresses import Report, Trial, choose
from regiment.jobs.dataclass import replace
from regiment.jobs.placement import Node, Placement

from ..node.messages import AgentHello

_NAMED = 8
"""Nodes whose addresses are given one by one; all of them are in `plan.json`."""


def addressed(
    placement: Placement, hellos: Mapping[int, AgentHello], trials: Sequence[Trial] = ()
) -> tuple[Placement, str]:
    """Give each node the address that all others reach it by, as far as they are there; and the reason for these."""
    there = [node for node in placement.nodes if node.index in hellos]
    place = {node.index: number for number, node in enumerate(there)}
    among = [
        Trial(place[trial.node], place[trial.target], trial.reached)
        for trial in trials
        if trial.node in place and trial.target in place
    ]
    found = choose([Report(node.address, hellos[node.index].interfaces) for node in there], among)
    chosen = {
        node.index: replace(node, address=choice.address, interface=choice.interface)
        for node, choice in zip(there, found.nodes, strict=True)
    }
    nodes = tuple(chosen.get(node.index, node) for node in placement.nodes)
    network = found.network if len(there) == len(nodes) else None
    return replace(placement, nodes=nodes, network=network), f"{found.reason}: {_listed(tuple(chosen.values()))}"


def _listed(nodes: Sequence[Node]) -> str:
    named = [f"{node.node_id} {node.address} on {node.interface or 'an unknown interface'}" for node in nodes[:_NAMED]]
    return ", ".join(named) + (f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else "")
