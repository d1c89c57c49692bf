"""YAML's events, put together to a tree.

With a stack of our own instead of recursion, and with limits on size and depth, so that a file made to exhaust
us is an error and not a crash.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from .dataclass import dataclass, field
from .errors import Fault
from .scalars import CORE, convert, resolve
from .syntax import MAX_DEPTH, TOO_DEEP, describe_syntax_error
from .tree import Broken, Entry, ItemList, Place, Scalar, Section, Tree, shorten

MAX_NODES = 100_000
"""Most scalars, lists and mappings of a file, every alias counted with all it stands for."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times faster; not every build has it


class _Stopped(Exception):
    """There is no point in reading on."""


@dataclass(slots=True)
class _Key:
    """The key whose value comes next."""

    place: Place
    name: str | None
    """None for a key that was refused."""
    merges: bool


@dataclass(slots=True)
class _Open:
    """A list or a mapping whose end has not come yet."""

    place: Place
    anchor: str | None
    is_section: bool
    is_broken: bool
    items: list[Tree] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    merged: list[Section] = field(default_factory=list)
    key: _Key | None = None
    weight: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    """What an alias stands for."""

    tree: Tree
    weight: int
    height: int


class TreeBuilder:
    """Makes the tree, event by event."""

    def __init__(self, file: str, numbered: bool, key: str = "", lenient: bool = False) -> None:
        """Build from a text of `file`, whose lines count or not, for the value of `key` ("" for the whole file).

        `lenient`: the last value of a key counts, as in Azure ML, instead of being a fault.
        """
        self.root: Tree | None = None
        self.faults: list[Fault] = []
        self.notes: list[Fault] = []
        self._file = file
        self._numbered = numbered
        self._outer_key = key
        self._lenient = lenient
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._weight = 0
        self._documents = 0

    def run(self, text: str) -> None:
        """Read the whole text; what is wrong with it goes to `faults`."""
        odd = _UNPRINTABLE.search(text)
        if odd:
            place = self._at(text.count("\n", 0, odd.start()))
            self.fault(place, f"the character {odd.group()!a} is not allowed; remove it", self._outer_key)
            return
        try:
            for event in yaml.parse(text, Loader=_Loader):
                handler = _HANDLERS.get(type(event))
                if handler is not None:
                    handler(self, event)
        except _Stopped:
            self.root = None
        except yaml.YAMLError as error:
            line, message = describe_syntax_error(error, text)
            # The parser reads ahead: the key it had reached is not always the one that is wrong, so none is named.
            self.fault(Place(self._file, line if self._numbered else None), message, self._outer_key)
            self.root = None

    def fault(self, place: Place, message: str, key: str) -> None:
        """Write down something that is wrong."""
        self.faults.append(Fault(place.file, place.line, key, message))

    def document(self, event: Any) -> None:
        """A document begins; there may be one."""
        self._documents += 1
        if self._documents > 1:
            self._stop(event, "a second document ('---') begins here; a job file holds one")

    def scalar(self, event: Any) -> None:
        """A single value or a key."""
        place = self._at(event.start_mark.line)
        tag = event.tag
        if tag is None or tag == "!":
            tag = resolve(event)
        elif not self._check_tag(event, place):
            self._add(Broken(place), event.anchor)
            return
        try:
            tree: Tree = Scalar(place, event.value, convert(tag, event.value))
        except ValueError as error:
            self.fault(place, str(error), self._path())
            tree = Broken(place)
        self._add(tree, event.anchor, merges=tag == CORE + "merge")

    def alias(self, event: Any) -> None:
        """The same again as something above."""
        place = self._at(event.start_mark.line)
        meant = self._anchors.get(event.anchor)
        if meant is None:
            within = event.anchor in self._anchors
            message = (
                f"'*{event.anchor}' stands within what it stands for" if within else f"there is no '&{event.anchor}'"
            )
            self.fault(place, f"{message}; write the value out, or put it in quotes", self._path())
            self._add(Broken(place), None)
            return
        if len(self._stack) + meant.height > MAX_DEPTH:
            self._stop_too_deep(event)
        self._add(meant.tree, None, meant.weight, meant.height)

    def open(self, event: Any) -> None:
        """A list or a mapping begins."""
        place = self._at(event.start_mark.line)
        if not self._numbered and not event.flow_style:
            self._stop(event, "write a list or a mapping in brackets, [a, b] or {a: b}, and put other text in quotes")
        if len(self._stack) == MAX_DEPTH:
            self._stop_too_deep(event)
        is_broken = event.tag is not None and event.tag != "!" and not self._check_tag(event, place)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(place, event.anchor, isinstance(event, yaml.MappingStartEvent), is_broken))

    def close(self, _event: Any) -> None:
        """The innermost list or mapping ends."""
        done = self._stack.pop()
        tree: Tree = Broken(done.place)
        if not done.is_broken and done.is_section:
            for section in done.merged:  # a mapping's own keys win, then the first that is merged
                for name, entry in section.entries.items():
                    done.entries.setdefault(name, entry)
            tree = Section(done.place, done.entries)
        elif not done.is_broken:
            tree = ItemList(done.place, tuple(done.items))
        self._add(tree, done.anchor, done.weight, done.height, is_counted=True)

    def _add(
        self,
        tree: Tree,
        anchor: str | None,
        weight: int = 1,
        height: int = 0,
        merges: bool = False,
        is_counted: bool = False,
    ) -> None:
        self._weight += 1 if is_counted else weight
        if self._weight > MAX_NODES:
            message = f"the file has more than {MAX_NODES:,} values, aliases written out; make it smaller"
            self._stop_at(tree.place, message)
        if anchor is not None:
            self._anchors[anchor] = _Anchored(tree, weight, height)
        if not self._stack:
            self.root = tree
            return
        parent = self._stack[-1]
        parent.weight += weight
        parent.height = max(parent.height, height + 1)
        if not parent.is_section:
            parent.items.append(tree)
        elif parent.key is None:
            parent.key = self._read_key(tree, merges)
        else:
            self._add_entry(parent, parent.key, tree)
            parent.key = None

    def _read_key(self, tree: Tree, merges: bool) -> _Key:
        if isinstance(tree, Scalar) and isinstance(tree.value, str):
            return _Key(tree.place, tree.value, merges)
        if isinstance(tree, Scalar):
            kind = "a number" if isinstance(tree.value, (int, float)) else "null"
            kind = "true or false" if isinstance(tree.value, bool) else kind
            self.fault(tree.place, f"YAML reads the key '{tree.text}' as {kind}; put it in quotes", self._path())
        elif not isinstance(tree, Broken):
            message = "a key must be text, not a list or a mapping; put a value that starts with '{' or '[' in quotes"
            self.fault(tree.place, message, self._path())
        return _Key(tree.place, None, False)

    def _add_entry(self, parent: _Open, key: _Key, tree: Tree) -> None:
        if key.merges:
            self._merge(parent, tree)
        if key.name is None or key.merges:
            return
        before = parent.entries.get(key.name)
        if before is not None and before.value == tree:
            note = f"given twice, on lines {before.place.line} and {key.place.line}, with the same value"
            self.notes.append(Fault(key.place.file, key.place.line, self._path(), note))
        elif before is not None and self._lenient:
            note = f"given twice, on lines {before.place.line} and {key.place.line}; the last one counts"
            self.notes.append(Fault(key.place.file, key.place.line, self._path(), note))
        elif before is not None:
            message = f"given twice, on lines {before.place.line} and {key.place.line}, with different values; keep one"
            if not self._numbered:
                message = "given twice with different values; keep one"
            self.fault(key.place, message, self._path())
        parent.entries[key.name] = Entry(key.place, tree)

    def _merge(self, parent: _Open, tree: Tree) -> None:
        for section in tree.items if isinstance(tree, ItemList) else (tree,):
            if isinstance(section, Section):
                parent.merged.append(section)
            elif not isinstance(section, Broken):
                self.fault(tree.place, "'<<' takes a mapping or a list of mappings; write '<<: *name'", self._path())

    def _check_tag(self, event: Any, place: Place) -> bool:
        if event.tag in _TAGS[type(event)]:
            return True
        shown = event.tag.replace(CORE, "!!")[:60]
        self.fault(place, f"the tag '{shown}' is not allowed in a job file; remove it", self._path())
        return False

    def _at(self, line: int) -> Place:
        return Place(self._file, line + 1 if self._numbered else None)

    def _path(self) -> str:
        parts = [self._outer_key] if self._outer_key else []
        for frame in self._stack:
            if not frame.is_section:
                parts.append(f"[{len(frame.items)}]")
            elif frame.key is not None and frame.key.name is not None:
                parts.append(shorten(frame.key.name))
        return ".".join(parts).replace(".[", "[")

    def _stop_too_deep(self, event: Any) -> None:
        self._stop(event, TOO_DEEP)

    def _stop(self, event: Any, message: str) -> None:
        self._stop_at(self._at(event.start_mark.line), message)

    def _stop_at(self, place: Place, message: str) -> None:
        self.fault(place, message, self._outer_key)
        raise _Stopped


_HANDLERS: dict[type, Any] = {
    yaml.DocumentStartEvent: TreeBuilder.document,
    yaml.ScalarEvent: TreeBuilder.scalar,
    yaml.AliasEvent: TreeBuilder.alias,
    yaml.SequenceStartEvent: TreeBuilder.open,
    yaml.MappingStartEvent: TreeBuilder.open,
    yaml.SequenceEndEvent: TreeBuilder.close,
    yaml.MappingEndEvent: TreeBuilder.close,
}
_TAGS: dict[type, frozenset[str]] = {
    yaml.ScalarEvent: frozenset(CORE + name for name in ("str", "int", "float", "bool", "null")),
    yaml.SequenceStartEvent: frozenset((CORE + "seq",)),
    yaml.MappingStartEvent: frozenset((CORE + "map",)),
}
