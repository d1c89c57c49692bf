"""Every fault in docs/faults.md has a test that shows it, and that test is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from .test_documents import ROOT, code, rows

TABLE = [row for row in rows((ROOT / "docs/faults.md").read_text("utf-8")) if row[0] != "#"]
FEWEST = 60
"""Rows of the 102 that are shown by now; those that need a second host are still to come."""


@cache
def names_of_tests(path: Path) -> set[str]:
    """The names of all tests in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test")}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_a_fault_is_shown_by_tests_that_exist(row: list[str]) -> None:
    _, fault, what_happens, shown_by = row
    assert fault and what_happens
    named = code(shown_by)
    assert named, "no test shows it"
    for test in named:
        path, _, name = test.partition("::")
        assert name in names_of_tests(ROOT / path), f"there is no test {test}"


def test_the_faults_are_numbered_as_in_the_list_they_come_from() -> None:
    numbers = [number for number, *_ in TABLE]
    assert all(re.fullmatch(r"[A-G][1-9]\d?", number) for number in numbers)
    assert numbers == sorted(set(numbers), key=lambda number: (number[0], int(number[1:])))
    assert len(numbers) >= FEWEST
