"""Metrics of a run: each process appends to a file of its own, and readers put the files together.

A value is one line, written in one piece before the call returns: a process that is killed loses nothing that it
logged. No process waits for another one, or for a network.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from .dataclass import dataclass
from .errors import UserError
from .metric_values import Scalar, checked_name, number, scalar, scalars, understood, written

_REMEMBERED_NAMES = 4096
"""Names whose JSON is kept; who has more of them makes them up as he goes."""

_LOOKS_AT_THE_CLOCKS = 8


class Kind(Enum):
    """What one entry says of its metric."""

    VALUE = "value"
    """One value, from `log`."""
    LIST = "list"
    """Several, from `log_list`; pieces follow one another."""
    ROW = "row"
    """One row of a table, from `log_row`: a value for each column."""
    TABLE = "table"
    """Several rows, from `log_table`: a list for each column, all of one length."""


@dataclass(frozen=True)
class Entry:
    """What one call logged."""

    time_ns: int
    """Unix time; never runs backwards within a writer."""
    writer: str
    """The name of the file it is in: the process's name, its pid, and a random part."""
    kind: Kind
    name: str
    value: Any
    """A scalar, a list, or a dict of columns."""
    step: int | float | None = None
    description: str | None = None


class MetricWriter:
    """One process's metrics; threads may share it, and a forked child goes on in a file of its own."""

    def __init__(self, folder: str | os.PathLike[str], process: str = "main") -> None:
        """Make nothing yet: the file, and the folder where it is missing, come with the first value."""
        self._folder = os.fspath(folder)
        self._process = process
        self._pid = 0
        self._fd = -1
        self._torn = False
        self._in_trouble = False
        self._numbers = itertools.count()
        self._names: dict[str, str] = {}
        self._clock_offset = 0

    def log(self, name: str, value: object, description: str = "", step: float | None = None) -> None:
        """Log one value; further ones of the same name make a list."""
        tail = "" if step is None else f',"s":{written(number(step, f"metric {name!r}, step"))}'
        if type(value) is not float:
            value = scalar(value, f"metric {name!r}")
        self._append("value", name, written(value), tail, description)

    def log_list(self, name: str, values: object, description: str = "") -> None:
        """Log a list; further lists of the same name continue it."""
        self._append("list", name, _list_text(scalars(values, f"metric {name!r}")), "", description)

    def log_row(self, name: str, columns: Mapping[str, object], description: str = "") -> None:
        """Log one row of a table."""
        if not columns:
            raise UserError(f"metric {name!r}: a row needs a value, as in log_row({name!r}, x=1)")
        cells = {
            checked_name(column, "column"): written(scalar(value, f"metric {name!r}, column {column!r}"))
            for column, value in columns.items()
        }
        self._append("row", name, _object_text(cells), "", description)

    def log_table(self, name: str, columns: object, description: str = "") -> None:
        """Log several rows at once: a list for each column, all of one length."""
        if not isinstance(columns, Mapping) or not columns:
            raise UserError(f"metric {name!r}: a table is a dict of columns, such as {{'x': [1, 2], 'y': [3, 4]}}")
        lists = {
            checked_name(column, "column"): scalars(values, f"metric {name!r}, column {column!r}")
            for column, values in columns.items()
        }
        if len({len(values) for values in lists.values()}) > 1:
            lengths = ", ".join(f"{column!r} has {len(values)}" for column, values in lists.items())
            raise UserError(f"metric {name!r}: its columns are of different lengths: {lengths}; make them one length")
        cells = {column: _list_text(values) for column, values in lists.items()}
        self._append("table", name, _object_text(cells), "", description)

    def close(self) -> None:
        """Give the file back; a value logged later begins another one."""
        fd, self._fd, self._pid = self._fd, -1, 0
        if fd >= 0:
            os.close(fd)

    def _append(self, kind: str, name: str, value: str, tail: str, description: str | None) -> None:
        quoted = self._names.get(name) if type(name) is str else None
        if quoted is None:
            quoted = self._learn(name)
        if os.getpid() != self._pid:
            self._open()
        if description:
            tail += f',"d":{json.dumps(description)}'
        line = (
            f'{{"t":{time.monotonic_ns() + self._clock_offset},"q":{next(self._numbers)},"k":"{kind}",'
            f'"n":{quoted},"v":{value}{tail}}}\n'
        ).encode()
        try:
            self._write(line)
        except OSError as error:
            self._complain(error)

    def _learn(self, name: object) -> str:
        if len(self._names) >= _REMEMBERED_NAMES:
            self._names.clear()
        name = checked_name(name)
        self._names[name] = quoted = json.dumps(name)
        return quoted

    def _open(self) -> None:
        """Begin a file: at the first value, and in a forked child, which must not write into its parent's."""
        pid, self._fd = os.getpid(), -1
        path = f"{self._folder}/{self._process}-{pid}-{os.urandom(4).hex()}.jsonl"
        self._clock_offset = _clock_offset()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            Path(self._folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            # The file before the pid: another thread that finds the pid right writes into the right file. Nothing is
            # closed: what such a thread has just opened is as good as this one.
            self._fd = os.open(path, flags, 0o600)
            self._pid = pid
        except OSError as error:
            self._complain(error)

    def _write(self, line: bytes) -> None:
        if self._fd < 0:
            return  # It could not be made, which was said.
        if self._torn:
            line = b"\n" + line  # What a full disk cut short must not spoil this one.
        count = os.write(self._fd, line)
        self._torn = count != len(line)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._folder)
        self._in_trouble = False

    def _complain(self, error: OSError) -> None:
        """Say once that values are being lost: a training that goes well does not end over a full disk."""
        was_in_trouble, self._in_trouble = self._in_trouble, True
        if was_in_trouble or sys.stderr is None:
            return
        try:
            print(f"regiment: metrics cannot be written: {error}; those logged now are lost", file=sys.stderr)
        except OSError:
            pass  # It may well go to a file on the same disk.


def _clock_offset() -> int:
    """Give what the monotonic clock lacks to Unix time, in nanoseconds, as of one instant.

    A process can lose its processor between looking at the one clock and at the other. Then its values would stand
    before those that other processes logged earlier, so the narrowest of some looks counts.
    """
    looks = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(_LOOKS_AT_THE_CLOCKS)]
    before, now, after = min(looks, key=lambda look: look[2] - look[0])
    return now - (before + after) // 2


def _list_text(values: list[Scalar]) -> str:
    return f"[{','.join(map(written, values))}]"


def _object_text(cells: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in cells.items()) + "}"


def read_entries(folder: Path) -> Iterator[Entry]:
    """Give all entries in order of logging; a line that is not whole, yet or for ever, is left out.

    They are put in order by time, then writer; those of one writer stay as it wrote them.
    """
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    return heapq.merge(*map(_entries_of, files), key=lambda entry: (entry.time_ns, entry.writer))


def _entries_of(path: Path) -> Iterator[Entry]:
    writer = path.stem
    with path.open(encoding="ascii", errors="replace", newline="\n") as file:
        for line in file:
            entry = _entry(writer, line)
            if entry is not None:
                yield entry


def _entry(writer: str, line: str) -> Entry | None:
    try:
        data = json.loads(line) if line.endswith("\n") else {}
        kind, value = Kind(data["k"]), data["v"]
        if kind in (Kind.ROW, Kind.TABLE):
            value = {column: understood(item) for column, item in value.items()}
        else:
            value = understood(value)
        return Entry(data["t"], writer, kind, data["n"], value, understood(data.get("s")), data.get("d"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read_metrics(folder: Path, name: str | None = None) -> dict[str, Any]:
    """Give the metrics in order of logging, or the one of that name, as Azure ML's `get_metrics()` has them.

    A name logged once gives its value, logged again a list; a table is a dict of columns, whose cells are single
    values as long as it has one row from `log_row`. A row that has not all columns leaves None in the others.
    """
    found: dict[str, list[Entry]] = {}
    for entry in read_entries(folder):
        if name is None or entry.name == name:
            found.setdefault(entry.name, []).append(entry)
    return {name: shaped(entries) for name, entries in found.items()}


def shaped(entries: list[Entry]) -> Any:
    """Give one metric's entries as its value."""
    if any(entry.kind in (Kind.ROW, Kind.TABLE) for entry in entries):
        return dict(entries[0].value) if [entry.kind for entry in entries] == [Kind.ROW] else _table(entries)
    if [entry.kind for entry in entries] == [Kind.VALUE]:
        return entries[0].value
    return [value for entry in entries for value in (entry.value if entry.kind is Kind.LIST else [entry.value])]


def _table(entries: list[Entry]) -> dict[str, list[Any]]:
    """Put rows together; a value that `log` gave the same name is a row with that one column."""
    table: dict[str, list[Any]] = {}
    length = 0
    for entry in entries:
        rows = _columns(entry)
        height = max(map(len, rows.values()), default=0)
        for column in rows:
            if column not in table:
                table[column] = [None] * length
        for column, values in table.items():
            values += rows.get(column, [None] * height)
        length += height
    return table


def _columns(entry: Entry) -> dict[str, list[Any]]:
    match entry.kind:
        case Kind.TABLE:
            return dict(entry.value)
        case Kind.ROW:
            return {column: [value] for column, value in entry.value.items()}
        case Kind.LIST:
            return {entry.name: list(entry.value)}
        case Kind.VALUE:
            return {entry.name: [entry.value]}
