"""Which of a node's processors each of its processes may use."""

from __future__ import annotations

from regiment.jobs.placement import Node
from regiment.jobs.spec import Binding

from .shares import shares


def process_cpus(binding: Binding, node: Node) -> tuple[tuple[int, ...], ...]:
    """Give each local rank its processors; an empty share means all of the node's."""
    match binding:
        case Binding.NONE:
            return ((),) * node.slots
        case Binding.CPUS:
            return shares(node.cpus, node.slots)
        case Binding.NUMA:
            return _numa_shares(node)


def _numa_shares(node: Node) -> tuple[tuple[int, ...], ...]:
    """Give each process all of its node's processors in one NUMA node, neighbours in the same one."""
    own = set(node.cpus)
    groups = [group for group in (tuple(cpu for cpu in cpus if cpu in own) for cpus in node.numa) if group]
    if not groups:
        return ((),) * node.slots
    return tuple(groups[index * len(groups) // node.slots] for index in range(node.slots))
