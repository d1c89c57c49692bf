"""`regiment metrics`: what a run has logged."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from regiment.jobs.errors import UserError
from regiment.jobs.metrics import Entry, Kind, read_entries, shaped
from regiment.jobs.workspace import find_workspace

from .output import answer


def metrics(options: argparse.Namespace) -> int:
    """Show a run's metrics, or every value of one."""
    folder = find_workspace(options.workspace, os.environ, Path.cwd()).existing_run(options.run_id)
    found: dict[str, list[Entry]] = {}
    for entry in read_entries(folder.metrics):
        if options.name in (None, entry.name):
            found.setdefault(entry.name, []).append(entry)
    if options.name is not None and not found:
        raise UserError(f"run {folder.run_id} has no metric {options.name!r}; 'regiment metrics {folder.run_id}' lists")
    data = {name: _for_json(shaped(entries)) for name, entries in found.items()}
    if options.name is None:
        answer(options, data, [_row(name, entries) for name, entries in found.items()])
    else:
        answer(options, data, [row for entry in found[options.name] for row in _values(entry)])
    return 0


def _row(name: str, entries: list[Entry]) -> dict[str, Any]:
    values = [value for entry in entries for value in _flat(entry.value)]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool) and not math.isnan(v)]
    return {
        "METRIC": name,
        "VALUES": len(values),
        "LAST": _shown(values[-1]) if values else "",
        "SMALLEST": _shown(min(numbers)) if numbers else "",
        "LARGEST": _shown(max(numbers)) if numbers else "",
        "STEP": entries[-1].step,
    }


def _values(entry: Entry) -> Iterable[dict[str, Any]]:
    """Give a row for every value that a call logged."""
    head = {"TIME": _clock(entry.time_ns), "PROCESS": entry.writer.rsplit("-", 2)[0], "STEP": entry.step}
    match entry.kind:
        case Kind.VALUE:
            yield {**head, "VALUE": _shown(entry.value)}
        case Kind.LIST:
            yield from ({**head, "VALUE": _shown(value)} for value in entry.value)
        case Kind.ROW:
            yield {**head, **{column: _shown(value) for column, value in entry.value.items()}}
        case Kind.TABLE:
            for cells in zip(*entry.value.values(), strict=True):
                yield {**head, **dict(zip(entry.value, map(_shown, cells), strict=True))}


def _clock(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [item for column in value.values() for item in _flat(column)]
    return value if isinstance(value, list) else [value]


def _shown(value: Any) -> str:
    """Give a value as a table shows it: a number with the digits that tell something."""
    from ..view.escape import printable

    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))


def _for_json(value: Any) -> Any:
    """Give a value that JSON has a word for: NaN and infinities are texts, as in the field's other formats."""
    if isinstance(value, dict):
        return {key: _for_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_for_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
