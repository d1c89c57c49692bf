"""A table: a sequence whose changed copies are cheap, and that knows how many items of each kind it has."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.decide import decide
from regiment.distribution.events import NodePrepared, NodeUp, ProcessExited, ProcessStarted
from regiment.distribution.state import Phase, Policy, Process, first_state
from regiment.distribution.table import BLOCK, Table

ITEMS = st.lists(st.integers(0, 3), max_size=3 * BLOCK)
CHANGES = st.lists(st.tuples(st.integers(0, 3 * BLOCK), st.integers(0, 3)), max_size=20)


@given(ITEMS, CHANGES)
def test_it_is_what_a_tuple_would_be(items: list[int], changes: list[tuple[int, int]]) -> None:
    first = table = Table(items, lambda item: item % 2)
    for place, item in changes:
        if place < len(items):
            items[place] = item
            table = table.changed(place, item)
    assert table == tuple(items) and list(table) == items and len(table) == len(items)
    assert [table[index] for index in range(len(items))] == items
    assert table.counts == Counter(item % 2 for item in items)
    assert table == Table(items, lambda item: item % 2)
    changed = [place for place, (old, new) in enumerate(zip(first, table, strict=True)) if old != new]
    assert list(table.differences(first)) == changed


def test_a_decision_about_one_process_looks_at_few_of_the_others() -> None:
    """It copies one block and the list of blocks; 32,768 decisions that copied all would take a minute and more."""
    nodes, now = 4096, 0.0
    state = first_state(Policy(), [8] * nodes, now)
    for event in (NodeUp, NodePrepared):
        for node in range(nodes):
            state, _ = decide(state, event(node), now)
    assert state.phase is Phase.RUNNING
    for rank in range(0, 8 * nodes, 1000):
        before = state.processes
        state, _ = decide(state, ProcessStarted(rank, 1), now)
        assert _copied(before, state.processes) <= BLOCK
        before = state.processes
        state, _ = decide(state, ProcessExited(rank, 0, None, asked=False, at=now), now)
        assert _copied(before, state.processes) <= BLOCK


def _copied(old: Table[Process], new: Table[Process]) -> int:
    shared = {id(block) for block in old.blocks}
    return sum(len(block) for block in new.blocks if id(block) not in shared)
