"""The index over a workspace's runs: SQLite, so that lists and queries need not read every run's folder.

It is a cache and never the truth. Whoever uses it holds the lock on the file beside it, for as long as he has it open:
so there is only ever one connection, in one process, and neither SQLite's own locking nor its log of writes comes in.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .dataclass import dataclass, field
from .runfilter import RunFilter

VERSION = 1
"""Of the tables below; an index with another one is made anew."""

_TABLES = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY, created TEXT NOT NULL, experiment TEXT NOT NULL, status TEXT NOT NULL, type TEXT NOT NULL,
    parent TEXT, archived INTEGER NOT NULL, is_open INTEGER NOT NULL, record TEXT, fault TEXT, stamp TEXT, keeper TEXT
);
CREATE INDEX newest ON runs (archived, created DESC, run_id DESC);
CREATE INDEX of_experiment ON runs (experiment, created DESC, run_id DESC);
CREATE INDEX of_status ON runs (status, created DESC, run_id DESC);
CREATE INDEX children ON runs (parent) WHERE parent IS NOT NULL;
CREATE INDEX still_open ON runs (run_id) WHERE is_open;
CREATE INDEX faulty ON runs (run_id) WHERE fault IS NOT NULL;
CREATE TABLE labels (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, run_id TEXT NOT NULL,
    PRIMARY KEY (kind, key, value, run_id)
) WITHOUT ROWID;
CREATE INDEX labels_of_run ON labels (run_id);
CREATE TABLE begun (run_id TEXT PRIMARY KEY, times INTEGER NOT NULL);
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Row:
    """What the index knows of one run."""

    run_id: str
    created: str = ""
    experiment: str = ""
    status: str = ""
    type: str = ""
    parent: str | None = None
    archived: bool = False
    is_open: bool = True
    """Whether its record may change without a word in `changes.log`: it is read again each time."""
    record: str | None = None
    """The record as JSON; None where there is none, or none that can be read."""
    fault: str | None = None
    """Why it cannot be read."""
    stamp: str | None = None
    """The state of the record's file: while that is the same, so is the record. None where it may not be so."""
    keeper: str | None = None
    """As JSON, the process that keeps the run, where the record was written while it lived; None where it is gone."""
    tags: Mapping[str, str | None] = field(default_factory=dict)
    properties: Mapping[str, str | None] = field(default_factory=dict)


class Index:
    """An open index."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # --- what is written ----------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write all of what follows or, where something goes wrong or the process is killed, nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    def put(self, rows: Iterable[Row]) -> None:
        """Add runs, or replace what is known of them; what is known of one that cannot be read now is kept."""
        for row in rows:
            if row.fault is None or not self._has_record(row.run_id):
                self.remove([row.run_id])
                self._add(row)
            else:
                self._connection.execute("UPDATE runs SET is_open = 1 WHERE run_id = ?", (row.run_id,))

    def _has_record(self, run_id: str) -> bool:
        found = self._connection.execute("SELECT 1 FROM runs WHERE run_id = ? AND record IS NOT NULL", (run_id,))
        return found.fetchone() is not None

    def _add(self, row: Row) -> None:
        self._connection.execute(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(row.run_id, row.created, row.experiment, row.status, row.type, row.parent),
                *(row.archived, row.is_open, row.record, row.fault, row.stamp, row.keeper),
            ),
        )
        labels = [("tag", key, value) for key, value in row.tags.items()]
        labels += [("property", key, value) for key, value in row.properties.items()]
        self._connection.executemany(
            "INSERT INTO labels VALUES (?, ?, ?, ?)",
            [(kind, key, _label_value(value), row.run_id) for kind, key, value in labels],
        )

    def remove(self, run_ids: Iterable[str]) -> None:
        """Forget runs."""
        for run_id in run_ids:
            self._connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
            self._connection.execute("DELETE FROM labels WHERE run_id = ?", (run_id,))

    def count_changes(self, begun: Iterable[str], ended: Iterable[str]) -> None:
        """Take down which runs' changes began and ended."""
        add = "INSERT INTO begun VALUES (?, ?) ON CONFLICT DO UPDATE SET times = times + excluded.times"
        self._connection.executemany(add, [(run_id, 1) for run_id in begun])
        self._connection.executemany(add, [(run_id, -1) for run_id in ended])
        # An end whose beginning was cut short says no more than that it is over.
        self._connection.execute("DELETE FROM begun WHERE times <= 0")

    def set_state(self, state: Mapping[str, str]) -> None:
        """Take down how far the index is."""
        self._connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())

    # --- what is asked ------------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, str]:
        """How far the index is."""
        return dict(self._connection.execute("SELECT key, value FROM state"))

    def run_ids(self) -> set[str]:
        """Give all runs that are known."""
        return {run_id for (run_id,) in self._connection.execute("SELECT run_id FROM runs")}

    def to_read_again(self) -> dict[str, Row]:
        """Give the runs whose records may have changed without a word, with what is known of each."""
        # Two searches and not one with an OR, for which SQLite would go through all runs.
        columns = "SELECT run_id, is_open, record, fault, stamp, keeper FROM runs WHERE"
        found = self._connection.execute(f"{columns} is_open UNION {columns} run_id IN (SELECT run_id FROM begun)")
        known = {row[0]: Row(row[0], "", "", "", "", None, False, bool(row[1]), *row[2:]) for row in found}
        begun = (run_id for (run_id,) in self._connection.execute("SELECT run_id FROM begun"))
        return {**{run_id: Row(run_id, is_open=False) for run_id in begun}, **known}

    def faults(self) -> list[str]:
        """Give why records cannot be read, a sentence each."""
        return [fault for (fault,) in self._connection.execute("SELECT fault FROM runs WHERE fault IS NOT NULL")]

    def experiments(self) -> set[str]:
        """Give the names of all experiments."""
        found = self._connection.execute("SELECT DISTINCT experiment FROM runs WHERE experiment <> ''")
        return {experiment for (experiment,) in found}

    def find(self, wanted: RunFilter, limit: int | None = None) -> list[tuple[str, str]]:
        """Give the runs that are looked for, newest first: their ids, and their records as JSON."""
        conditions, values = ["record IS NOT NULL"], []
        for condition, given in _conditions(wanted):
            conditions.append(condition)
            values += given
        query = f"SELECT run_id, record FROM runs WHERE {' AND '.join(conditions)} ORDER BY created DESC, run_id DESC"
        found = self._connection.execute(f"{query} LIMIT ?", (*values, -1 if limit is None else limit))
        return found.fetchall()


_BELOW = """run_id IN (
    WITH RECURSIVE below (run_id) AS (
        SELECT run_id FROM runs WHERE parent = ? UNION SELECT runs.run_id FROM runs JOIN below ON parent = below.run_id
    ) SELECT run_id FROM below)"""


def _conditions(wanted: RunFilter) -> Iterator[tuple[str, list[object]]]:
    """Give what a filter means in SQL, with the values that go with it."""
    single: list[tuple[str, object]] = [
        ("experiment = ?", wanted.experiment),
        ("status = ?", None if wanted.status is None else wanted.status.value),
        ("type = ?", wanted.type),
        ("parent = ?", wanted.parent),
        (_BELOW, wanted.ancestor),
        ("archived = ?", wanted.archived),
    ]
    yield from ((condition, [value]) for condition, value in single if value is not None)
    if wanted.top_level:
        yield "parent IS NULL", []
    if wanted.hidden_experiments:
        yield f"experiment NOT IN ({', '.join('?' * len(wanted.hidden_experiments))})", [*wanted.hidden_experiments]
    for kind, labels in (("tag", wanted.tags), ("property", wanted.properties)):
        for key, value in labels.items():
            having = "run_id IN (SELECT run_id FROM labels WHERE kind = ? AND key = ?"
            if value is None:
                yield f"{having})", [kind, key]
            else:
                yield f"{having} AND value = ?)", [kind, key, _label_value(value)]


def _label_value(value: str | None) -> str:
    """Give a tag's value so that one that is empty and none at all are two."""
    return "" if value is None else f"={value}"


@contextmanager
def open_index(path: Path) -> Iterator[Index | None]:
    """Open an index that is there; gives None where it has tables of another version. Raises sqlite3.Error."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        yield Index(connection) if version == VERSION else None
    finally:
        connection.close()  # Python 3.13 warns of those that are left to the garbage collector.


@contextmanager
def new_index(path: Path) -> Iterator[Index]:
    """Make an index, which is whole only when the block is over: until then it has no version."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # Who is killed here leaves a file that nobody takes for an index; there is nothing to go back to.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.executescript(_TABLES)
        with Index(connection).writing():
            yield Index(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    finally:
        connection.close()
