"""The tree in which the snapshot spreads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.spreading import FAN_OUT, giver_of, is_worth_it


def test_the_tree_is_this_one() -> None:
    assert [giver_of(position) for position in range(15)] == [None, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]


@given(st.integers(1, 5000))
def test_nobody_gives_to_more_than_a_few_and_all_get_it_from_somebody_before_them(count: int) -> None:
    givers = [giver_of(position) for position in range(count)]
    assert givers[0] is None
    assert all(giver is not None and giver < position for position, giver in enumerate(givers) if position)
    assert all(givers.count(position) <= FAN_OUT for position in {0, 1, count // 2, count - 1})


@given(st.integers(0, 5000))
def test_the_way_from_the_first_is_short(position: int) -> None:
    steps, at = 0, position
    while (giver := giver_of(at)) is not None:
        steps, at = steps + 1, giver
    assert steps <= (position + 1).bit_length() - 1


@pytest.mark.parametrize(
    ("nodes", "size", "is_worth"),
    [(3, 10**9, False), (4, 999_999, False), (4, 1_000_000, True), (64, 0, False), (64, 10**9, True)],
)
def test_few_nodes_and_little_code_need_no_tree(nodes: int, size: int, is_worth: bool) -> None:
    assert is_worth_it(nodes, size) is is_worth
