"""Frozen dataclasses to and from plain JSON data, every type checked on the way in.

Specs, plans, records and messages all cross a file or a socket in this form, so that a reader never
meets a value its type does not allow. Unions of dataclasses are told apart by their `type` field.

A coordinator reads and writes messages by the ten thousands, so what a type asks for is found out once, and kept as
a function that builds a value of it.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from .dataclass import MISSING, dataclass, fields, is_dataclass

T = TypeVar("T")
_Build = Callable[[Any], Any]
"""Makes a value of plain data, or raises PlainError."""
_SCALARS = frozenset({str, int, float, bool, type(None)})


class PlainError(ValueError):
    """The data does not fit the type; the message says where."""

    def __init__(self, text: str, place: str = "", whole: str = "value") -> None:
        """`place` leads from the outermost value to the wrong one, and `whole` is what the outermost is called."""
        super().__init__(f"{place or whole}: {text}")
        self._text, self._place, self._whole = text, place, whole

    def inside(self, step: str) -> PlainError:
        """Give the error as it is where the value is a part of another one."""
        return PlainError(self._text, step + self._place, self._whole)


def to_plain(value: Any) -> Any:
    """Turn a dataclass (or a container of them) into dicts, lists and scalars that JSON can hold."""
    kind: Any = type(value)
    return value if kind in _SCALARS else _writer(kind)(value)


def from_plain(kind: type[T], data: object) -> T:
    """Build a `kind` from plain data, or raise PlainError naming the place that does not fit."""
    return cast(T, _builder(cast(Any, kind))(data))


@cache
def _camel(name: str) -> str:
    """Turn `run_id` into `runId`: what is on disk and on the wire is spelled as Azure ML's records are."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


# --- to plain data ----------------------------------------------------------------------------------


@cache
def _writer(kind: Any) -> Callable[[Any], Any]:
    """Give what turns values of that very type into plain data."""
    if is_dataclass(kind):
        return _fields_writer(kind)
    if issubclass(kind, Enum):
        return lambda value: value.value
    if issubclass(kind, Mapping):
        return lambda value: {key: v if type(v) in _SCALARS else to_plain(v) for key, v in value.items()}
    if issubclass(kind, (tuple, list)):
        return lambda value: [item if type(item) in _SCALARS else to_plain(item) for item in value]
    if issubclass(kind, frozenset):
        return lambda value: sorted(map(to_plain, value))
    return lambda value: value


def _fields_writer(kind: Any) -> Callable[[Any], Any]:
    keys = tuple((_camel(item.name), item.name) for item in fields(kind))

    def write(value: Any) -> dict[str, Any]:
        return {key: v if type(v := getattr(value, name)) in _SCALARS else to_plain(v) for key, name in keys}

    return write


# --- from plain data --------------------------------------------------------------------------------


@cache
def _builder(kind: Any) -> _Build:
    """Give what builds values of a type."""
    if kind is Any or kind is object:
        return _itself
    if is_dataclass(kind):
        return _fields_builder(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_builder(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union_builder(arguments)
    if origin is tuple:
        return _tuple_builder(arguments[0])
    if origin is frozenset:
        items = _tuple_builder(arguments[0])
        return lambda data: frozenset(items(data))
    if origin in (dict, Mapping):
        return _mapping_builder(arguments[1])
    if origin is Literal:
        return _literal_builder(arguments)
    return _scalar_builder(kind)


def _itself(data: Any) -> Any:
    return data


def _scalar_builder(kind: Any) -> _Build:
    def build(data: Any) -> Any:
        if type(data) is kind:
            return data
        if kind is float and type(data) is int:
            return float(data)
        raise _expected(getattr(kind, "__name__", str(kind)), data)

    return build


def _enum_builder(kind: type[Enum]) -> _Build:
    def build(data: Any) -> Any:
        try:
            return kind(data)
        except ValueError:
            raise PlainError(f"{data!r} is not a {kind.__name__}") from None

    return build


def _literal_builder(values: tuple[Any, ...]) -> _Build:
    def build(data: Any) -> Any:
        if data not in values:
            raise _expected(f"one of {values}", data)
        return data

    return build


def _mapping_builder(item_kind: Any) -> _Build:
    def build(data: Any) -> Any:
        if not isinstance(data, dict):
            raise _expected("a mapping", data)
        build_item, values = _builder(item_kind), {}
        for key, item in data.items():
            try:
                values[str(key)] = build_item(item)
            except PlainError as error:
                raise error.inside(f".{key}") from None
        return values

    return build


def _tuple_builder(item_kind: Any) -> _Build:
    def build(data: Any) -> Any:
        if not isinstance(data, (list, tuple)):
            raise _expected("a list", data)
        if item_kind in _SCALARS and all(type(item) is item_kind for item in data):
            return tuple(data)
        build_item, items = _builder(item_kind), []
        for index, item in enumerate(data):
            try:
                items.append(build_item(item))
            except PlainError as error:
                raise error.inside(f"[{index}]") from None
        return tuple(items)

    return build


@dataclass(frozen=True)
class _Field:
    """What a dataclass's field asks for."""

    name: str
    kind: Any
    build: _Build
    is_needed: bool


def _fields_builder(kind: Any) -> _Build:
    def build(data: Any) -> Any:
        if not isinstance(data, dict):
            raise _expected(f"a {kind.__name__}", data)
        known, needed = _fields_of(kind)
        values = {}
        for key, value in data.items():
            field = known.get(key)
            if field is None:
                unknown = sorted(str(key) for key in data if key not in known)[0]
                raise PlainError(f"unknown key {unknown!r}", whole=kind.__name__)
            try:
                values[field.name] = value if type(value) is field.kind else field.build(value)
            except PlainError as error:
                raise error.inside(f".{key}") from None
        for key, name in needed:
            if name not in values:
                raise PlainError(f"{key} is missing", whole=kind.__name__)
        return kind(**values)

    return build


@cache
def _fields_of(kind: Any) -> tuple[dict[Any, _Field], tuple[tuple[str, str], ...]]:
    """Give a dataclass's fields by their keys in plain data, and the keys and names of those that have to be there."""
    hints = get_type_hints(kind)
    found = {}
    for item in fields(kind):
        is_needed = item.default is MISSING and item.default_factory is MISSING
        hint = hints[item.name]
        found[_camel(item.name)] = _Field(item.name, hint, _builder(hint), is_needed)
    return found, tuple((key, field.name) for key, field in found.items() if field.is_needed)


def _union_builder(kinds: tuple[Any, ...]) -> _Build:
    tagged, others = _tagged(kinds), tuple(kind for kind in kinds if not is_dataclass(kind))

    def build(data: Any) -> Any:
        if data is None and type(None) in kinds:
            return None
        if tagged and isinstance(data, dict):
            tag = data.get("type")
            kind = tagged.get(tag if isinstance(tag, str) else None) or tagged.get(None)
            if kind is None:
                raise PlainError(f"unknown type {tag!r}")
            return _builder(kind)(data)
        for kind in others:
            try:
                return _builder(kind)(data)
            except PlainError:
                continue
        raise PlainError(f"{data!r} fits none of its types")

    return build


def _tagged(kinds: tuple[Any, ...]) -> dict[str | None, Any]:
    """Give the dataclasses of a union by the `type`s that each is told by; the first that has no such field by None."""
    found: dict[str | None, Any] = {}
    for kind in filter(is_dataclass, kinds):
        hints = get_type_hints(kind)
        for tag in get_args(hints["type"]) if "type" in hints else (None,):
            found.setdefault(tag, kind)
    return found


def _expected(wanted: str, data: Any) -> PlainError:
    return PlainError(f"expected {wanted}, got {type(data).__name__}")
