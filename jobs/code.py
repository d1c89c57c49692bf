"""`code:` in all its spellings: a folder, a single file, or something that is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .dataclass import dataclass
from .errors import UserError
from .fields import dropped, text
from .include import included
from .paths import existing, is_elsewhere
from .reading import Key, Reader, Reading, Table, Value, reads
from .shapes import either, section, then


@dataclass(frozen=True)
class Code:
    """Where a job's code is."""

    path: str | None = None
    """Absolute path of a folder or a file."""
    url: str | None = None
    """`git+https://...` or `azureml:...`."""


@reads({"type": "string"})
def _code(value: Value, reading: Reading) -> Code:
    named: str = text(value, reading)
    first, _, rest = named.partition(" ")
    if first == "local_path" and rest:  # real files have this slip, "local_path src" on a line of its own
        reading.note(value, f"read as 'local_path: {rest.strip()}'; write 'code: {rest.strip()}'")
        named = rest.strip()
    return _find(named, value, reading)


def _find(named: str, value: Value, reading: Reading) -> Code:
    if is_elsewhere(named):
        return Code(url=named)
    return Code(path=existing(named, value, reading))


@reads({"type": "string"})
def _folder(value: Value, reading: Reading) -> Code:
    return _find(text(value, reading), value, reading)


_CODE: Table = {
    "local_path": Key(_folder, "the folder, in files of 2021"),
    "path": Key(_folder, "the folder"),
    "$schema": Key(dropped, is_offered=False),
    "name": Key(dropped, is_offered=False),
    "version": Key(dropped, is_offered=False),
    "description": Key(dropped, is_offered=False),
    "tags": Key(dropped, is_offered=False),
}


def _make(values: Mapping[str, Any], _value: Value, _reading: Reading) -> Code | None:
    if not values.keys() & {"local_path", "path"}:
        raise UserError("expected the path of a folder, found none; write code: FOLDER")
    return values.get("local_path") or values.get("path")


code: Reader = included(
    either("a path", single=_code, mapping=then(section(_CODE), _make)), lambda path: Code(path=path)
)
"""Reads where the code is."""
