"""Writes what was measured into docs/benchmarks.md, each table between two comments with its name."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Sequence
from pathlib import Path

_DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def publish(name: str, header: Sequence[str], rows: Sequence[Sequence[str]], remark: str = "") -> None:
    """Print a table, and put it where the document has its place for it, with the date and the machine."""
    table = "\n".join(
        [_row(header), _row(["---"] * len(header)), *map(_row, rows)],
    )
    when = time.strftime("%d %B %Y").lstrip("0")
    processors = len(os.sched_getaffinity(0))
    where = f"{when}, {processors} processors, Python {platform.python_version()}, Linux {platform.release()}. {remark}"
    text = f"{table}\n\n{where.strip()}"
    print(f"\n{text}")
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    old = _DOCUMENT.read_text("utf-8")
    new, count = re.subn(
        f"({re.escape(begin)}\n).*?({re.escape(end)})", lambda found: f"{found[1]}{text}\n{found[2]}", old, flags=re.S
    )
    assert count == 1, f"{_DOCUMENT} has no place for {name}"
    _DOCUMENT.write_text(new, "utf-8")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
