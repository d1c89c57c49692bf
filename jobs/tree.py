"""A job file as a tree in which everything knows its line."""

from __future__ import annotations

from collections.abc import Mapping

from .dataclass import dataclass, field
from .errors import Fault


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written."""

    file: str
    line: int | None
    """1-based, or None where there are no lines (a flag)."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value."""

    place: Place = field(compare=False)
    text: str
    """As written, quotes and escapes undone."""
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class ItemList:
    """A list."""

    place: Place = field(compare=False)
    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value; the place is the key's."""

    place: Place = field(compare=False)
    value: Tree


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping of names to values, in the order written."""

    place: Place = field(compare=False)
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that a fault has been reported for; readers pass over it."""

    place: Place = field(compare=False)


Tree = Scalar | ItemList | Section | Broken


@dataclass(frozen=True)
class Source:
    """What came of a text: a tree as far as one could be made, and all that is wrong with it."""

    tree: Tree | None
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]
    """What is odd but does no harm."""


def shorten(text: str) -> str:
    """Give text as a message can show it: on one line, with no control characters, not over 60 characters."""
    text = text[:61]
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 60 else text[:57] + "..."
