"""The ledger of an attempt's start as a file: a row a line, only ever appended to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .journal import Journal, read_journal
from .ledger import SCHEMA, LedgerRow
from .plain import PlainError, from_plain, to_plain
from .workspace import RunFolder


class LedgerWriter:
    """Writes the rows of a run's attempts; a file comes with its first row."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._attempt = -1
        self._journal: Journal | None = None

    def append(self, attempt: int, row: LedgerRow) -> None:
        """Write one row; raises OSError if it is not all there."""
        if self._journal is None or attempt != self._attempt:
            if self._journal is not None:
                self._journal.close()
            self._attempt, self._journal = attempt, Journal(self._folder.ledger(attempt))
        self._journal.append(to_plain(row))


def read_ledger(path: Path) -> Iterator[LedgerRow]:
    """Give the rows of an attempt; those that are damaged, or of a later version, are left out."""
    for entry in read_journal(path):
        try:
            row = from_plain(LedgerRow, entry)
        except PlainError:
            continue
        if row.schema == SCHEMA:
            yield row
