"""How reading commands answer: a table for people, JSON or TSV for programs, JMESPath to choose from it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from regiment.jobs.errors import UserError


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Give a reading command its -o and --query."""
    parser.add_argument(
        "-o", "--output", choices=("table", "json", "tsv"), default="table", help="how to answer (default: table)"
    )
    parser.add_argument("--query", metavar="JMESPATH", help="choose from the answer, for example 'status'")


def answer(options: argparse.Namespace, data: Any, table: Any = None) -> None:
    """Print an answer on standard output; `table` is what a table shows where that is less than all of it."""
    chosen = data
    if options.query is not None:
        chosen = table = _search(options.query, data)
    if options.output == "json":
        print(json.dumps(chosen, indent=2))
    elif options.output == "tsv":
        for row in _rows(chosen):
            print("\t".join(_cell(value) for value in row))
    else:
        _print_table(chosen if table is None else table)


def _search(query: str, data: Any) -> Any:
    import jmespath

    try:
        return jmespath.search(query, data)
    except jmespath.exceptions.JMESPathError as error:
        raise UserError(f"--query {query!r} is not a JMESPath expression: {error}") from None


def _rows(data: Any) -> list[list[Any]]:
    """Give data as rows of cells, the way the field's command lines print TSV."""
    items = data if isinstance(data, list) else [data]
    if items and all(not isinstance(item, (dict, list)) for item in items):
        return [[item] for item in items]
    return [
        list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else [item] for item in items
    ]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value).replace("\t", " ").replace("\n", " ")


def _print_table(data: Any) -> None:
    from tabulate import tabulate

    if isinstance(data, list) and data and all(isinstance(item, dict) for item in data):
        print(tabulate([_as_text(item) for item in data], headers="keys", tablefmt="simple", disable_numparse=True))
    elif isinstance(data, dict):
        print(tabulate([(k, _cell(v)) for k, v in data.items()], tablefmt="plain", disable_numparse=True))
    elif isinstance(data, list):
        for item in data:
            print(_cell(item))
    elif data is not None:
        print(_cell(data))


def _as_text(row: dict[str, Any]) -> dict[str, str]:
    return {key: _cell(value) for key, value in row.items()}


def say(text: str, *, quiet: bool = False) -> None:
    """Say something to the person, on standard error."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def columns(rows: Sequence[dict[str, Any]], names: dict[str, str]) -> list[dict[str, Any]]:
    """Choose and name the columns of a table."""
    return [{title: row.get(key) for key, title in names.items()} for row in rows]
