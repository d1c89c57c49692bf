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
    kind: Any = type(value)
    if kind in _SCALARS:
        return value
    if kind is tuple:
        return [to_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {key: to_plain(getattr(value, name)) for key, name in _keys(kind)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(to_plain(item) for item in value)
    return value


_SCALARS = frozenset({str, int, float, bool, type(None)})


@cache
def _keys(kind: Any) -> tuple[tuple[str, str], ...]:
    """Give what a dataclass's fields are called in plain data, and in itself."""
    return tuple((_camel(item.name), item.name) for item in fields(kind))


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


@cache
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """Give what a generic type is made from and of, once for all messages of that kind."""
    return get_origin(kind), get_args(kind)


def _build(kind: Any, data: Any, place: str) -> Any:
    origin, arguments = _parts(kind)
    if is_dataclass(kind):
        return _build_dataclass(kind, data, place)
    if origin in (Union, types.UnionType):
        return _build_union(arguments, data, place)
    if origin is tuple:
        return _build_tuple(arguments, data, place)
    if origin is frozenset:
        return frozenset(_build_tuple(arguments, data, place))
    if origin in (dict, Mapping):
        item_kind = arguments[1]
        _expect(isinstance(data, dict), "a mapping", data, place)
        return {str(key): _build(item_kind, item, f"{place}.{key}") for key, item in data.items()}
    if origin is Literal:
        _expect(data in arguments, f"one of {arguments}", data, place)
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
    unknown = data.keys() - _hints(kind).keys()
    if unknown:
        raise PlainError(f"{place or kind.__name__}: unknown key {sorted(map(str, unknown))[0]!r}")
    values = {}
    for key, name, hint, is_needed in _parameters(kind):
        if key in data:
            value = data[key]
            is_plain = hint in _SCALARS and type(value) is hint  # As most are, in messages that come by the thousands.
            values[name] = value if is_plain else _build(hint, value, f"{place}.{key}")
        elif is_needed:
            raise PlainError(f"{place or kind.__name__}: {key} is missing")
    return kind(**values)


@cache
def _parameters(kind: Any) -> tuple[tuple[str, str, Any, bool], ...]:
    """Give each field's key, its name, its type and whether it has to be there."""
    hints = _hints(kind)
    found = []
    for item in fields(kind):
        is_needed = item.default is MISSING and item.default_factory is MISSING
        found.append((_camel(item.name), item.name, hints[_camel(item.name)], is_needed))
    return tuple(found)


def _build_union(kinds: tuple[Any, ...], data: Any, place: str) -> Any:
    if data is None and type(None) in kinds:
        return None
    if isinstance(data, dict) and (tagged := _tagged(kinds)):
        for kind, tags in tagged:
            if tags is None or data.get("type") in tags:
                return _build(kind, data, place)
        raise PlainError(f"{place or 'value'}: unknown type {data.get('type')!r}")
    for kind in kinds:
        if kind is not type(None) and not is_dataclass(kind):
            try:
                return _build(kind, data, place)
            except PlainError:
                continue
    raise PlainError(f"{place or 'value'}: {data!r} fits none of its types")


@cache
def _tagged(kinds: tuple[Any, ...]) -> tuple[tuple[Any, tuple[Any, ...] | None], ...]:
    """Give the dataclasses of a union with the `type`s that each is told by; None for one that has no such field."""
    hints = {kind: _hints(cast(Any, kind)) for kind in kinds if is_dataclass(kind)}
    return tuple((kind, get_args(own["type"]) if "type" in own else None) for kind, own in hints.items())


def _build_tuple(kinds: tuple[Any, ...], data: Any, place: str) -> Any:
    _expect(isinstance(data, (list, tuple)), "a list", data, place)
    return tuple(_build(kinds[0], item, f"{place}[{index}]") for index, item in enumerate(data))


def _expect(holds: bool, wanted: str, data: Any, place: str) -> None:
    if not holds:
        raise PlainError(f"{place or 'value'}: expected {wanted}, got {type(data).__name__}")
