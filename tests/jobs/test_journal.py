"""Entries that were written stay readable, whatever happens to the one after them."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from regiment.jobs.journal import Journal, read_journal


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    for number in range(3):
        journal.append({"n": number})
    assert list(read_journal(tmp_path / "j")) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600


def test_an_entry_that_was_cut_short_spoils_neither_the_one_before_nor_the_one_after(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.append({"n": 0})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "j").stat().st_size + 5, limits[1]))
        with pytest.raises(OSError, match="only 5 of"):
            journal.append({"n": 1})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    journal.append({"n": 2})
    assert list(read_journal(tmp_path / "j")) == [{"n": 0}, {"n": 2}]


def test_a_journal_that_is_not_there_has_no_entries(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path / "j")) == []
