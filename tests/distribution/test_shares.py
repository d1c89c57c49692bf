"""Sharing a machine among emulated nodes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.shares import shares


@given(st.integers(1, 50), st.integers(1, 50))
def test_shares_are_even_and_complete_where_there_is_enough(count: int, parts: int) -> None:
    result = shares(range(count), parts)
    assert len(result) == parts
    if count >= parts:
        assert [item for share in result for item in share] == list(range(count))
        assert max(map(len, result)) - min(map(len, result)) <= 1
    else:
        assert all(len(share) == 1 for share in result)


def test_nothing_to_share_gives_empty_shares() -> None:
    assert shares((), 3) == ((), (), ())
