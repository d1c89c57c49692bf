"""Lists and mappings of a job file, and values that may have one of several shapes.

These readers report what is wrong inside by themselves and go on, so that all faults of a file come out at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import UserError
from .fields import any_case, describe, is_nothing, text
from .reading import Key, Reader, Reading, Schema, Table, Value
from .tree import Broken, Entry, ItemList, Scalar, Section, shorten


def list_of(reader: Reader) -> Reader:
    """Make a reader of lists."""

    def read(value: Value, reading: Reading) -> tuple[Any, ...]:
        if not isinstance(value.tree, ItemList):
            raise UserError(f"expected a list, found {describe(value.tree)}")
        return tuple(reading.read(reader, value.item(index, item)) for index, item in enumerate(value.tree.items))

    return Reader(read, {"type": "array", "items": reader.schema})


def map_of(reader: Reader, check_key: Callable[[str], Any] | None = None) -> Reader:
    """Make a reader of mappings whose keys the user chooses; nothing at all is an empty one."""

    def read(value: Value, reading: Reading) -> dict[str, Any]:
        if is_nothing(value.tree):  # its lines are commented out
            return {}
        result = {}
        for name, entry in as_section(value).entries.items():
            inner = value.entry(name, entry)
            if check_key is not None:
                reading.check(inner, check_key, name)
            result[name] = reading.read(reader, inner)
        return result

    return Reader(read, {"type": ["object", "null"], "additionalProperties": reader.schema})


def section(table: Table, required: Sequence[str] = ()) -> Reader:
    """Make a reader of mappings whose keys a table gives; keys with no value in the file are not in its result."""

    def read(value: Value, reading: Reading) -> dict[str, Any]:
        found = as_section(value)
        result = {}
        for name, entry in found.entries.items():
            inner = value.entry(name, entry)
            if name in table:
                result[name] = reading.read(table[name].reader, inner)
            else:
                reading.fault(inner, f"unknown key; {reading.guess(name, _offered(table))}")
        for name in required:
            if name not in found.entries:
                reading.fault(value.entry(name, Entry(value.place, found)), f"missing; add a '{name}:'")
        return result

    return Reader(read, _section_schema(table, required))


def _section_schema(table: Table, required: Sequence[str]) -> Schema:
    keys = {name: _key_schema(key) for name, key in table.items()}
    schema: dict[str, Any] = {"type": "object", "properties": keys, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


def _key_schema(key: Key) -> Schema:
    about = {"description": key.about} if key.about else {}
    hidden = {} if key.is_offered else {"doNotSuggest": True}  # editors' own word, not the standard's
    return {**about, **hidden, **key.reader.schema}


def tagged(readers: Mapping[str, Reader], default: str | None = None) -> Reader:
    """Make a reader of mappings whose `type` decides which of the readers takes them; it is read in any case."""

    def read(value: Value, reading: Reading) -> Any:
        entry = as_section(value).entries.get("type")
        if entry is None:
            if default is None:
                raise UserError(f"'type' is missing; known here: {', '.join(sorted(readers))}")
            return readers[default](value, reading)
        inner = value.entry("type", entry)
        name = reading.read(text, inner)
        if name is None:
            return None
        if name.lower() not in readers:
            reading.fault(inner, f"unknown type '{shorten(name)}'; {reading.guess(name.lower(), readers)}")
            return None
        return readers[name.lower()](value, reading)

    names: dict[int, list[str]] = {}
    for name, reader in readers.items():
        names.setdefault(id(reader), []).append(name)
    by_id = {id(reader): reader for reader in readers.values()}
    cases = [_tagged_schema(by_id[key].schema, words, default in words) for key, words in names.items()]
    return Reader(read, {"anyOf": cases})


def _tagged_schema(schema: Schema, names: Sequence[str], is_default: bool) -> Schema:
    required = [*schema.get("required", ()), *([] if is_default else ["type"])]
    about = schema["properties"].get("type", {}).get("description", "which of the kinds this is")
    kind = {"description": about, **any_case(*names)}
    return {**schema, "properties": {**schema["properties"], "type": kind}, "required": required}


def either(
    wanted: str, single: Reader | None = None, mapping: Reader | None = None, items: Reader | None = None
) -> Reader:
    """Make a reader that leaves single values, mappings and lists to different readers; `wanted` names them all."""
    by_kind: dict[type, Reader | None] = {Scalar: single, Section: mapping, ItemList: items}

    def read(value: Value, reading: Reading) -> Any:
        reader = by_kind.get(type(value.tree))
        if reader is None or is_nothing(value.tree):
            raise UserError(f"expected {wanted}, found {describe(value.tree)}")
        return reader(value, reading)

    return Reader(read, {"anyOf": [reader.schema for reader in by_kind.values() if reader is not None]})


def then(reader: Reader, make: Callable[[Any, Value, Reading], Any]) -> Reader:
    """Make a reader that goes on with what another one has read."""

    def read(value: Value, reading: Reading) -> Any:
        return make(reader(value, reading), value, reading)

    return Reader(read, reader.schema)


def entries_of(value: Value) -> dict[str, Value]:
    """Give the values under the keys of a mapping; of anything else, none."""
    if not isinstance(value.tree, Section):
        return {}
    return {name: value.entry(name, entry) for name, entry in value.tree.entries.items()}


def as_section(value: Value) -> Section:
    """Give a mapping, or raise."""
    if not isinstance(value.tree, Section):
        raise UserError(f"expected a mapping, found {describe(value.tree)}")
    return value.tree


def plain_data(value: Value) -> Any:
    """Give what is written there as plain data."""
    if isinstance(value.tree, Section):
        return {name: plain_data(inner) for name, inner in entries_of(value).items()}
    if isinstance(value.tree, ItemList):
        return [plain_data(value.item(index, item)) for index, item in enumerate(value.tree.items)]
    return None if isinstance(value.tree, Broken) else value.tree.value


def _offered(table: Table) -> list[str]:
    return [name for name, key in table.items() if key.is_offered]
