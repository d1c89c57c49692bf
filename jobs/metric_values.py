"""What may be logged as a metric, and how it is written: JSON that every reader of JSON can read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import UserError

Scalar = float | int | str | bool
"""One value: a number, a truth value or a word."""

_SPECIAL = "$float"
"""The key under which a number stands that JSON has no word for."""
_LARGEST = 2**63
_LONGEST_NAME = 255
"""Characters, as in Azure ML."""
_LONGEST_TEXT = 1 << 20
"""Characters of one value."""


def scalar(value: object, place: str) -> Scalar:
    """Give a value as a plain one; `place` says where it was given. Anything else is a UserError.

    Scalars of numpy and PyTorch, and arrays of one element, give theirs through `.item()`; TensorFlow's tensors,
    decimals and fractions as a float. Nothing of them is imported here.
    """
    kind = type(value)
    if kind is float or kind is bool:
        return value  # type: ignore[return-value] # mypy does not narrow by `is`
    if isinstance(value, float):
        return float(value)  # A subclass may print itself otherwise: numpy.float64 does.
    if isinstance(value, int):
        return _whole(int(value), place)
    if isinstance(value, str):
        return _text(str(value), place)
    return _foreign(value, place)


def number(value: object, place: str) -> float:
    """Give a value that has to be a number."""
    plain = scalar(value, place)
    if isinstance(plain, str):
        raise UserError(f"{place}: expected a number, found {_described(value)}")
    return plain


def scalars(values: object, place: str) -> list[Scalar]:
    """Give the values of a list, a tuple, an array or anything else that can be gone through."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise UserError(f"{place}: expected a list of values, found {_described(values)}; log() takes a single one")
    # Arrays and tensors give all of theirs at once; one without dimensions a single value, though it looks iterable.
    items = values.tolist() if hasattr(values, "tolist") else list(values)
    if not isinstance(items, list):
        raise UserError(f"{place}: expected a list of values, found {_described(values)} of one; log() takes that")
    return [scalar(item, f"{place}, value {index}") for index, item in enumerate(items)]


def checked_name(name: object, what: str = "metric") -> str:
    """Give a name that is one."""
    if not isinstance(name, str) or not name:
        raise UserError(f"a {what}'s name is a text of 1 to {_LONGEST_NAME} characters, not {_described(name)}")
    if len(name) > _LONGEST_NAME:
        raise UserError(f"{what} {name[:40]!r}...: its name has {len(name)} characters, {_LONGEST_NAME} are allowed")
    return str(name)


def written(value: Scalar) -> str:
    """Give a value as JSON; NaN and infinities, for which JSON has no word, as an object that says so."""
    if type(value) is float:
        return float.__repr__(value) if math.isfinite(value) else f'{{"{_SPECIAL}":"{value}"}}'
    return json.dumps(value)


def understood(value: Any) -> Any:
    """Give back what `written` wrote, after JSON's reader has read it."""
    if isinstance(value, dict):
        return float(value[_SPECIAL])
    if isinstance(value, list):
        return [understood(item) for item in value]
    return value


def _whole(value: int, place: str) -> int:
    if not -_LARGEST <= value < _LARGEST:
        raise UserError(f"{place}: a whole number of {value.bit_length()} bits is too large; log it as a float")
    return value


def _text(value: str, place: str) -> str:
    if len(value) > _LONGEST_TEXT:
        raise UserError(
            f"{place}: a text of {len(value)} characters is too long for a metric; write it to a file in ./outputs"
        )
    return value


def _foreign(value: object, place: str) -> Scalar:
    for name, convert in (("item", lambda: value.item()), ("__float__", lambda: float(value))):  # type: ignore[attr-defined, arg-type]
        if not hasattr(value, name):
            continue
        try:
            plain = convert()
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise UserError(
                f"{place}: {_described(value)} is not one value ({error}); log_list() takes several"
            ) from None
        if isinstance(plain, (float, int, str)):
            return scalar(plain, place)
    raise UserError(f"{place}: expected a number or a text, found {_described(value)}; convert it before it is logged")


def _described(value: object) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return "None" if value is None else f"a {name}"
