"""A sequence that never changes and that changed copies are cheap of, for states with ten thousands of processes.

A decision about one of 32,768 processes must neither copy nor look at the others, or 32,768 decisions take hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, compress, count
from operator import is_not
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
U = TypeVar("U")

WIDTH = 32
"""Items in a block, and blocks in a group; of the largest runs' processes there are about as many groups."""
_GROUP = WIDTH * WIDTH

Counts = dict[Any, int]


class Table(Sequence[T], Generic[T]):
    """Items in blocks in groups, which a changed copy shares but for one; how many there are of each kind is known."""

    __slots__ = ("_change", "_groups", "_kind", "_length", "counts")

    def __init__(self, items: Iterable[T], kind: Callable[[T], Any]) -> None:
        """`kind` says of an item as what it is counted; None as a result is a kind, too."""
        every = tuple(items)
        self._groups = _cut(_cut(every))
        self._length = len(every)
        self._kind = kind
        self._change: tuple[object, int] | None = None
        """The groups of the table that this is a changed copy of, and where."""
        self.counts: Counts = {}
        """How many items there are of each kind that has any."""
        for item in every:
            self.counts[kind(item)] = self.counts.get(kind(item), 0) + 1

    @property
    def groups(self) -> tuple[tuple[tuple[T, ...], ...], ...]:
        """The items as they are kept: in blocks, and these in groups."""
        return self._groups

    def changed(self, index: int, item: T) -> Table[T]:
        """Give the table with another item at that place."""
        number, block, place = index // _GROUP, index // WIDTH % WIDTH, index % WIDTH
        group = self._groups[number]
        if group[block][place] is item:
            return self
        old, new = self._kind(group[block][place]), self._kind(item)
        copy = Table.__new__(type(self))
        copy._kind, copy._length = self._kind, self._length
        copy._groups = _with(self._groups, number, _with(group, block, _with(group[block], place, item)))
        copy._change = self._groups, index
        copy.counts = self.counts if old == new else _moved(self.counts, old, new)
        return copy

    def mapped(self, change: Callable[[T], T]) -> Table[T]:
        """Give the table with each item changed so."""
        return Table(map(change, self), self._kind)

    def differences(self, older: Table[T]) -> Iterator[int]:
        """Give the places at which the items are not the very same as in another table of that length."""
        if self._change is not None and self._change[0] is older._groups:
            yield self._change[1]  # As after most events.
            return
        for number in _different(self._groups, older._groups):
            group, before = self._groups[number], older._groups[number]
            for block in _different(group, before):
                start = number * _GROUP + block * WIDTH
                yield from (start + place for place in _different(group[block], before[block]))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(chain.from_iterable(self._groups))

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...

    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        if not -self._length <= index < self._length:
            raise IndexError(f"there is no item {index} among {self._length}")
        index %= self._length
        return self._groups[index // _GROUP][index // WIDTH % WIDTH][index % WIDTH]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Table):
            return self._groups == other._groups
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Table({tuple(self)!r})"


def _cut(items: tuple[U, ...]) -> tuple[tuple[U, ...], ...]:
    return tuple(items[start : start + WIDTH] for start in range(0, len(items), WIDTH))


def _with(items: tuple[U, ...], index: int, item: U) -> tuple[U, ...]:
    copy = list(items)
    copy[index] = item
    return tuple(copy)


def _different(own: Sequence[object], others: Sequence[object]) -> Iterator[int]:
    """Give the places at which two sequences have not the very same; asked at each event, so without Python's steps."""
    return compress(count(), map(is_not, own, others))


def _moved(counts: Counts, old: Any, new: Any) -> Counts:
    moved = {**counts, new: counts.get(new, 0) + 1, old: counts[old] - 1}
    return {kind: count for kind, count in moved.items() if count}
