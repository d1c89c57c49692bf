"""One reading of a job file: values with the keys that lead to them, and all that was found wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .dataclass import dataclass
from .errors import Fault, JobFileError, UserError
from .tree import Broken, Entry, Place, Source, Tree, shorten

_MOST_FAULTS = 100  # more help nobody
_MOST_GUESSES = 20  # looking for the nearest key takes time
_MOST_INCLUDES = 100
_DEEPEST_INCLUDE = 8


@dataclass(frozen=True, slots=True)
class Value:
    """A value in a job file, with the key that leads to it."""

    tree: Tree
    place: Place
    """Where its key stands."""
    key: str
    """Dotted path, for example `resources.instance_count`; empty for the whole file."""

    def entry(self, name: str, entry: Entry) -> Value:
        """Give the value of one of its keys."""
        return Value(entry.value, entry.place, f"{self.key}.{shorten(name)}".lstrip("."))

    def item(self, index: int, tree: Tree) -> Value:
        """Give one of its items."""
        return Value(tree, tree.place, f"{self.key}[{index}]")


class Reading:
    """One job file while it is read: the folders its paths start from, and what was found wrong so far."""

    def __init__(
        self,
        folder: Path,
        faults: Iterable[Fault] = (),
        notes: Iterable[Fault] = (),
        *,
        text: str = "",
        lenient: bool = False,
        paths: bool = True,
    ) -> None:
        """Begin with what the parser found in the `text` of a file in `folder`.

        `lenient`: of a key given twice the last value counts; `paths`: local files and folders must exist.
        """
        self.lenient = lenient
        self.paths = paths
        self._folder = folder
        self._lines = text.splitlines()
        self._faults = list(faults)
        self._notes = list(notes)
        self._unused: list[Value] = []
        self._guesses = 0
        self._includes: dict[str, Path] = {}
        self._open: list[Path] = []

    def folder_of(self, value: Value) -> Path:
        """Give the folder that paths in a value start from: that of the file it is written in."""
        return self._includes.get(value.place.file, self._folder)

    @contextmanager
    def include(self, path: Path, file: str, source: Source) -> Iterator[None]:
        """Read another file, called `file` in messages, as a part of this one."""
        if path in self._open or len(self._open) == _DEEPEST_INCLUDE or len(self._includes) == _MOST_INCLUDES:
            raise UserError("'file:' leads in a circle, or to too many files; write the values here")
        self._includes[file] = path.parent
        self._faults += source.faults
        self._notes += source.notes
        self._open.append(path)
        try:
            yield
        finally:
            self._open.pop()

    def fault(self, value: Value, message: str) -> None:
        """Write down that a value is wrong."""
        self._faults.append(Fault(value.place.file, value.place.line, value.key, message))

    def note(self, value: Value, message: str) -> None:
        """Write down that a value is right but will not do what somebody may expect."""
        self._notes.append(Fault(value.place.file, value.place.line, value.key, message))

    def unused(self, value: Value) -> None:
        """Write down that a value is right but has no effect here; one note will name all of these."""
        self._unused.append(value)

    def find(self, value: Value, words: str) -> Value:
        """Give the value with the line where some words of it stand, for texts that go over several lines."""
        first = value.place.line
        if first is None or value.place.file in self._includes:
            return value
        for line, text in enumerate(self._lines[first - 1 :], first):
            if words in text:
                return Value(value.tree, Place(value.place.file, line), value.key)
        return value

    def read(self, reader: Reader, value: Value) -> Any:
        """Apply a reader; give None where the value is wrong."""
        if isinstance(value.tree, Broken):
            return None
        try:
            return reader(value, self)
        except UserError as error:
            self.fault(value, str(error))
            return None

    def check(self, value: Value, rule: Callable[..., object], *arguments: object) -> None:
        """Apply a rule that raises UserError; what it says is about this value."""
        try:
            rule(*arguments)
        except UserError as error:
            self.fault(value, str(error))

    def guess(self, word: str, known: Iterable[str]) -> str:
        """Give the question for the nearest known word, or the list of all."""
        words = sorted(known)
        self._guesses += 1
        from difflib import get_close_matches  # Only who wrote something wrong waits for it.

        near = get_close_matches(word, words, 1) if self._guesses <= _MOST_GUESSES else []
        return f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(words)}"

    def finish(self) -> tuple[str, ...]:
        """Give the notes, or raise all faults in the order of the file, those with no line last."""
        if self._faults:
            faults = sorted(self._faults, key=_order)
            if len(faults) > _MOST_FAULTS:
                rest = Fault(faults[0].file, None, "", f"and {len(faults) - _MOST_FAULTS} more faults")
                faults = [*faults[:_MOST_FAULTS], rest]
            raise JobFileError(tuple(faults))
        notes = [*self._notes, *_note_of_unused(self._unused)]
        return tuple(str(note) for note in sorted(notes, key=_order)[:_MOST_FAULTS])


Schema = Mapping[str, Any]
"""A JSON schema, or a part of one."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Takes a value and gives what it means, or raises UserError; and knows the JSON schema of what it takes."""

    read: Callable[[Value, Reading], Any]
    schema: Schema

    def __call__(self, value: Value, reading: Reading) -> Any:
        """Read a value."""
        return self.read(value, reading)


def reads(schema: Schema) -> Callable[[Callable[[Value, Reading], Any]], Reader]:
    """Make a function the reader of the values that a JSON schema allows."""
    return lambda read: Reader(read, schema)


@dataclass(frozen=True, slots=True)
class Key:
    """A key that a mapping may have."""

    reader: Reader
    about: str = ""
    """What it is for, for an editor to show."""
    is_offered: bool = True
    """Whether messages and editors name it: not where it says nothing about the job."""


Table = Mapping[str, Key]
"""The keys that a mapping may have."""


def _note_of_unused(values: Sequence[Value]) -> tuple[Fault, ...]:
    if not values:
        return ()
    found = sorted(values, key=lambda value: value.place.line or 0)
    names = ", ".join(dict.fromkeys(value.key for value in found))
    first = found[0].place
    return (Fault(first.file, first.line, "", f"accepted, but not used here: {names}"),)


def _order(fault: Fault) -> tuple[bool, int]:
    return (fault.line is None, fault.line or 0)
