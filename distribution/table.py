"""A sequence that never changes and that changed copies are cheap of, for states with ten thousands of processes.

A decision about one of 32,768 processes must neither copy nor look at the others, or 32,768 decisions take hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, count
from operator import is_not
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")

BLOCK = 128
"""Items that are copied with one that changes; the square root of the largest runs' processes, roughly."""

Counts = dict[Any, int]


class Table(Sequence[T], Generic[T]):
    """Items in blocks, which a changed copy shares but for one; how many there are of each kind is always known."""

    __slots__ = ("_blocks", "_kind", "_length", "counts")

    def __init__(self, items: Iterable[T], kind: Callable[[T], Any]) -> None:
        """`kind` says of an item as what it is counted; None as a result is a kind, too."""
        every = tuple(items)
        self._blocks = tuple(every[start : start + BLOCK] for start in range(0, len(every), BLOCK))
        self._length = len(every)
        self._kind = kind
        self.counts: Counts = {}
        """How many items there are of each kind that has any."""
        for item in every:
            self.counts[kind(item)] = self.counts.get(kind(item), 0) + 1

    @property
    def blocks(self) -> tuple[tuple[T, ...], ...]:
        """The items as they are kept."""
        return self._blocks

    def changed(self, index: int, item: T) -> Table[T]:
        """Give the table with another item at that place."""
        number, place = divmod(index, BLOCK)
        block = self._blocks[number]
        old, new = self._kind(block[place]), self._kind(item)
        copy = Table.__new__(type(self))
        copy._kind, copy._length = self._kind, self._length
        block = (*block[:place], item, *block[place + 1 :])
        copy._blocks = (*self._blocks[:number], block, *self._blocks[number + 1 :])
        copy.counts = self.counts if old == new else _moved(self.counts, old, new)
        return copy

    def mapped(self, change: Callable[[T], T]) -> Table[T]:
        """Give the table with each item changed so."""
        return Table(map(change, self), self._kind)

    def differences(self, older: Table[T]) -> Iterator[int]:
        """Give the places at which the items are not the very same as in another table of that length."""
        for number in _different(self._blocks, older._blocks):
            start = number * BLOCK
            yield from (start + place for place in _different(self._blocks[number], older._blocks[number]))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        for block in self._blocks:
            yield from block

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...

    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        if not -self._length <= index < self._length:
            raise IndexError(f"there is no item {index} among {self._length}")
        number, place = divmod(index % self._length, BLOCK)
        return self._blocks[number][place]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Table):
            return self._blocks == other._blocks
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Table({tuple(self)!r})"


def _different(own: Sequence[object], others: Sequence[object]) -> Iterator[int]:
    """Give the places at which two sequences have not the very same; asked at each event, so without Python's steps."""
    return compress(count(), map(is_not, own, others))


def _moved(counts: Counts, old: Any, new: Any) -> Counts:
    moved = {**counts, new: counts.get(new, 0) + 1, old: counts[old] - 1}
    return {kind: count for kind, count in moved.items() if count}
