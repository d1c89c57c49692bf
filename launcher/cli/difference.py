"""`regiment show RUN --diff OTHER`."""

from __future__ import annotations

import argparse
from itertools import islice

from regiment.jobs.record import RunRecord
from regiment.jobs.workspace import RunFolder

from ..comparison import changed_code, compare
from ..view.escape import printable
from .output import answer

_MOST_LINES = 200
"""Lines of changed code that are shown."""
_WIDEST = 60
"""Characters of a value in the table."""


def show_difference(
    options: argparse.Namespace, one: tuple[RunFolder, RunRecord], other: tuple[RunFolder, RunRecord]
) -> None:
    """Say in what two runs differ."""
    found = compare(one, other)
    rows = [{"section": d.section, "key": d.key, "value": d.one, "otherValue": d.other} for d in found]
    ids = (one[1].run_id, other[1].run_id)
    data = {"runId": ids[0], "otherRunId": ids[1], "differences": rows}
    names = dict(zip(("section", "key", "value", "otherValue"), ("SECTION", "WHAT", *ids), strict=True))
    table = [{title: _cell(row[key]) for key, title in names.items()} for row in rows]
    answer(options, data, table or f"runs {ids[0]} and {ids[1]} do not differ")
    if options.output == "table" and options.query is None:
        _show_code(list(islice(changed_code(found, one[0], other[0]), _MOST_LINES + 1)), one[0], other[0])


def _show_code(lines: list[str], one: RunFolder, other: RunFolder) -> None:
    if lines:
        print()
    for line in lines[:_MOST_LINES]:
        print(printable(line))
    if len(lines) > _MOST_LINES:
        print(f"and more; 'diff -ru {one.code} {other.code}' shows all")


def _cell(value: str | None) -> str:
    if value is None:
        return "-"
    text = printable(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
