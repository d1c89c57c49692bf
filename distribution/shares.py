"""Sharing one machine's processors and GPUs among the nodes emulated on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def shares(items: Sequence[T], parts: int) -> tuple[tuple[T, ...], ...]:
    """Split items into contiguous shares whose sizes differ by one at most.

    Where there are fewer items than parts, neighbours share an item; none gets an empty share unless
    there are no items at all.
    """
    count = len(items)
    if count == 0:
        return ((),) * parts
    if count < parts:
        return tuple((items[index * count // parts],) for index in range(parts))
    return tuple(tuple(items[index * count // parts : (index + 1) * count // parts]) for index in range(parts))
