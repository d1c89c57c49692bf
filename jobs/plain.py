"""Frozen dataclasses to and from plain JSON data, every type checked on the way in.

Specs, plans, records and messages all cross a file or a socket in this form, so that a reader never
meets a value its type does not allow. Unions of dataclasses are told apart by their `type` field.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from .dataclass import MISSING, fields, is_dataclass

T = TypeVar("T")


class PlainError(ValueError):
    """The data does not fit the type; the message says where."""


def to_plain(value: Any) -> Any:
    """Turn a dataclass (or a container of them) into dicts, lists and scalars that JSON can hold."""
    if is_dataclass(value) and not isinstance(value, type):
        return {_camel(item.name): to_plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(to_plain(item) for item in value)
    return value


def from_plain(kind: type[T], data: object) -> T:
    """Build a `kind` from plain data, or raise PlainError naming the place that does not fit."""
    return cast(T, _build(kind, data, ""))


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """Give the types of a dataclass's fields by the names they have in plain data."""
    hints = get_type_hints(kind)
    return {_camel(item.name): hints[item.name] for item in fields(kind)}


@cache
def _camel(name: str) -> str:
    """Turn `run_id` into `runId`: what is on disk and on the wire is spelled as Azure ML's records are."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _build(kind: Any, data: Any, place: str) -> Any:
    origin = get_origin(kind)
    if is_dataclass(kind):
        return _build_dataclass(kind, data, place)
    if origin in (Union, types.UnionType):
        return _build_union(get_args(kind), data, place)
    if origin is tuple:
        return _build_tuple(get_args(kind), data, place)
    if origin is frozenset:
        return frozenset(_build_tuple(get_args(kind), data, place))
    if origin in (dict, Mapping):
        item_kind = get_args(kind)[1]
        _expect(isinstance(data, dict), "a mapping", data, place)
        return {str(key): _build(item_kind, item, f"{place}.{key}") for key, item in data.items()}
    if origin is Literal:
        _expect(data in get_args(kind), f"one of {get_args(kind)}", data, place)
        return data
    return _build_scalar(kind, data, place)


def _build_scalar(kind: Any, data: Any, place: str) -> Any:
    if kind is Any or kind is object:
        return data
    if kind is float and type(data) is int:
        return float(data)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError:
            raise PlainError(f"{place or 'value'}: {data!r} is not a {kind.__name__}") from None
    _expect(type(data) is kind, getattr(kind, "__name__", str(kind)), data, place)
    return data


def _build_dataclass(kind: Any, data: Any, place: str) -> Any:
    _expect(isinstance(data, dict), f"a {kind.__name__}", data, place)
    hints = _hints(kind)
    unknown = data.keys() - hints.keys()
    if unknown:
        raise PlainError(f"{place or kind.__name__}: unknown key {sorted(map(str, unknown))[0]!r}")
    values = {}
    for item in fields(kind):
        key = _camel(item.name)
        if key in data:
            values[item.name] = _build(hints[key], data[key], f"{place}.{key}")
        elif item.default is MISSING and item.default_factory is MISSING:
            raise PlainError(f"{place or kind.__name__}: {key} is missing")
    return kind(**values)


def _build_union(kinds: tuple[Any, ...], data: Any, place: str) -> Any:
    if data is None and type(None) in kinds:
        return None
    tagged = [kind for kind in kinds if is_dataclass(kind)]
    if isinstance(data, dict) and tagged:
        for kind in tagged:
            tag = _hints(cast(Any, kind)).get("type")
            if tag is None or data.get("type") in get_args(tag):
                return _build(kind, data, place)
        raise PlainError(f"{place or 'value'}: unknown type {data.get('type')!r}")
    for kind in kinds:
        if kind is not type(None) and not is_dataclass(kind):
            try:
                return _build(kind, data, place)
            except PlainError:
                continue
    raise PlainError(f"{place or 'value'}: {data!r} fits none of its types")


def _build_tuple(kinds: tuple[Any, ...], data: Any, place: str) -> Any:
    _expect(isinstance(data, (list, tuple)), "a list", data, place)
    return tuple(_build(kinds[0], item, f"{place}[{index}]") for index, item in enumerate(data))


def _expect(holds: bool, wanted: str, data: Any, place: str) -> None:
    if not holds:
        raise PlainError(f"{place or 'value'}: expected {wanted}, got {type(data).__name__}")
