"""A table: a sequence whose changed copies are cheap, and that knows how many items of each kind it has."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.decide import decide
from regiment.distribution.events import NodePrepared, NodeUp, ProcessExited, ProcessStarted
from regiment.distribution.state import Phase, Policy, Process, first_state
from regiment.distribution.table import WIDTH, Table

GROUP = WIDTH * WIDTH
ITEMS = st.lists(st.integers(0, 3), max_size=3 * WIDTH) | st.integers(0, 3 * GROUP).map(lambda size: [0] * size)
CHANGES = st.lists(st.tuples(st.integers(0, 3 * GROUP), st.integers(0, 3)), max_size=20)


@given(ITEMS, CHANGES)
def test_it_is_what_a_tuple_would_be(items: list[int], changes: list[tuple[int, int]]) -> None:
    first = table = Table(items, lambda item: item % 2)
    for number, item in changes if items else ():
        place = number % len(items)
        is_new = items[place] != item
        items[place] = item
        before, table = table, table.changed(place, item)
        assert list(table.differences(before)) == [place] * is_new
    assert table == tuple(items) and list(table) == items and len(table) == len(items)
    assert [table[index] for index in range(len(items))] == items
    assert table.counts == Counter(item % 2 for item in items)
    assert table == Table(items, lambda item: item % 2)
    changed = [place for place, (old, new) in enumerate(zip(first, table, strict=True)) if old != new]
    assert list(table.differences(first)) == changed


def test_a_decision_about_one_process_looks_at_few_of_the_others() -> None:
    """It copies a block, its group and the list of groups; 32,768 decisions that copied all would take a minute."""
    nodes, now = 4096, 0.0
    state = first_state(Policy(), [8] * nodes, now)
    for event in (NodeUp, NodePrepared):
        for node in range(nodes):
            state, _ = decide(state, event(node), now)
    assert state.phase is Phase.RUNNING
    for rank in range(0, 8 * nodes, 1000):
        before = state.processes
        state, _ = decide(state, ProcessStarted(rank, 1), now)
        assert _copied(before, state.processes) <= 3 * WIDTH
        before = state.processes
        state, _ = decide(state, ProcessExited(rank, 0, None, asked=False, at=now), now)
        assert _copied(before, state.processes) <= 3 * WIDTH


def _copied(old: Table[Process], new: Table[Process]) -> int:
    """Give how many items, blocks and groups were."""
    shared = {id(kept) for group in old.groups for kept in (group, *group)}
    own = [kept for group in new.groups for kept in (group, *group) if id(kept) not in shared]
    return len(new.groups) + sum(map(len, own))
