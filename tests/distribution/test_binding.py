"""Which processors each process gets, on every kind of node."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.binding import process_cpus
from regiment.jobs.placement import Node
from regiment.jobs.spec import Binding

CPUS = st.lists(st.integers(0, 200), min_size=1, max_size=64, unique=True).map(lambda cpus: tuple(sorted(cpus)))


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    """Make up a node that has some of a machine's processors, which lie in some NUMA nodes."""
    machine = draw(CPUS)
    own = tuple(cpu for cpu in machine if draw(st.booleans())) or machine[:1]
    homes = {cpu: draw(st.integers(0, 3)) for cpu in machine}
    numa = tuple(tuple(cpu for cpu in machine if homes[cpu] == home) for home in range(4))
    return Node(0, "node-0", "host", "10.0.0.1", draw(st.integers(1, 80)), own, "python", numa=numa)


def numa_homes(node: Node, cpus: tuple[int, ...]) -> set[int]:
    return {home for home, group in enumerate(node.numa) for cpu in cpus if cpu in group}


@given(nodes(), st.sampled_from(Binding))
def test_there_is_a_share_for_each_process_and_all_of_it_is_the_nodes(node: Node, binding: Binding) -> None:
    shares = process_cpus(binding, node)
    assert len(shares) == node.slots
    assert all(set(share) <= set(node.cpus) for share in shares)


@given(nodes())
def test_processors_are_dealt_out_whole_and_nobody_goes_without(node: Node) -> None:
    shares = process_cpus(Binding.CPUS, node)
    assert all(shares)
    assert {cpu for share in shares for cpu in share} == set(node.cpus) or node.slots < len(node.cpus)
    if node.slots <= len(node.cpus):
        dealt = [cpu for share in shares for cpu in share]
        assert sorted(dealt) == list(node.cpus)
    else:
        assert all(len(share) == 1 for share in shares)
        users = [shares.count((cpu,)) for cpu in node.cpus]
        assert max(users) - min(users) <= 1


@given(nodes())
def test_a_process_keeps_to_one_numa_node_and_has_all_of_it(node: Node) -> None:
    shares = process_cpus(Binding.NUMA, node)
    for share in shares:
        (home,) = numa_homes(node, share)
        assert set(share) == set(node.numa[home]) & set(node.cpus)


@given(nodes())
def test_numa_nodes_are_used_evenly_and_by_neighbours(node: Node) -> None:
    shares = process_cpus(Binding.NUMA, node)
    used = list(dict.fromkeys(shares))
    there = [group for group in node.numa if set(group) & set(node.cpus)]
    assert len(used) == min(node.slots, len(there))
    counts = [shares.count(share) for share in used]
    assert max(counts) - min(counts) <= 1
    # Neighbours stay together: a share that was left behind does not come back.
    assert list(shares) == [share for share in used for _ in range(shares.count(share))]


def test_a_machine_that_does_not_say_where_its_memory_is_binds_nobody_to_numa_nodes() -> None:
    node = Node(0, "node-0", "host", "10.0.0.1", 2, (0, 1), "python")
    assert process_cpus(Binding.NUMA, node) == ((), ())


def test_without_binding_all_have_all() -> None:
    node = Node(0, "node-0", "host", "10.0.0.1", 2, (0, 1), "python", numa=((0, 1),))
    assert process_cpus(Binding.NONE, node) == ((), ())
