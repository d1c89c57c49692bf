"""What a sweep may vary: the expressions of `search_space`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .bindings import literal
from .checks import check_count
from .data import LiteralInput
from .errors import UserError
from .fields import checked, number, text, whole_number
from .reading import Key, Reader, Reading, Table, Value
from .shapes import as_section, either, list_of, map_of, section, tagged, then
from .sweep import Choice, Conditional, Normal, Parameter, RandInt, Uniform


def _read_conditional(value: Value, reading: Reading) -> Conditional:
    """Read a value of a choice that is a mapping: its own keys are parameters, or values that are given."""
    entries = {name: value.entry(name, entry) for name, entry in as_section(value).entries.items()}
    return Conditional({name: reading.read(_INNER, inner) for name, inner in entries.items()})


def _check_values(
    values: tuple[LiteralInput | Conditional | None, ...],
) -> tuple[LiteralInput | Conditional | None, ...]:
    if not values:
        raise UserError("expected at least one value, found none")
    return values


def _check_positive(found: float) -> float:
    if found <= 0:
        raise UserError(f"expected a number above 0, found {found:g}")
    return float(found)


_TYPE = Key(text, "how it is distributed")
_VALUE = either("a value or a mapping", literal, Reader(_read_conditional, {"type": "object"}))
_VALUES = Key(checked(list_of(_VALUE), _check_values, minItems=1), "the values")
_CHOICE: Table = {"type": _TYPE, "values": _VALUES}
_STEP: Table = {"q": Key(checked(number, _check_positive, exclusiveMinimum=0), "round to multiples of this")}
_RANGE: Table = {"type": _TYPE, "min_value": Key(number, "the least"), "max_value": Key(number, "the most")}
_SIGMA = Key(checked(number, _check_positive, exclusiveMinimum=0), "the standard deviation")
_BELL: Table = {"type": _TYPE, "mu": Key(number, "the mean"), "sigma": _SIGMA}
_RANDINT: Table = {"type": _TYPE, "upper": Key(checked(whole_number, check_count, minimum=1), "below this")}


def _make_choice(values: Mapping[str, Any], _value: Value, _reading: Reading) -> Choice:
    return Choice(values.get("values") or ())


def _make_randint(values: Mapping[str, Any], _value: Value, _reading: Reading) -> RandInt:
    return RandInt(values.get("upper") or 1)


def _uniform(is_log: bool, table: Table) -> Reader:
    def make(values: Mapping[str, Any], _value: Value, _reading: Reading) -> Uniform | None:
        low, high = values.get("min_value"), values.get("max_value")
        if low is None or high is None:
            return None
        if low > high:
            raise UserError(f"min_value {low:g} is above max_value {high:g}; exchange them")
        return Uniform(float(low), float(high), values.get("q"), is_log)

    return then(section(table, ("min_value", "max_value", *(["q"] if "q" in table else []))), make)


def _normal(is_log: bool, table: Table) -> Reader:
    def make(values: Mapping[str, Any], _value: Value, _reading: Reading) -> Normal | None:
        if values.get("mu") is None or values.get("sigma") is None:
            return None
        return Normal(float(values["mu"]), values["sigma"], values.get("q"), is_log)

    return then(section(table, ("mu", "sigma", *(["q"] if "q" in table else []))), make)


_PARAMETER: Reader = tagged(
    {
        "choice": then(section(_CHOICE, ("values",)), _make_choice),
        "randint": then(section(_RANDINT, ("upper",)), _make_randint),
        "uniform": _uniform(False, _RANGE),
        "loguniform": _uniform(True, _RANGE),
        "quniform": _uniform(False, {**_RANGE, **_STEP}),
        "qloguniform": _uniform(True, {**_RANGE, **_STEP}),
        "normal": _normal(False, _BELL),
        "lognormal": _normal(True, _BELL),
        "qnormal": _normal(False, {**_BELL, **_STEP}),
        "qlognormal": _normal(True, {**_BELL, **_STEP}),
    }
)
_INNER: Reader = either("a value or a mapping", literal, _PARAMETER)


def _check_space(space: dict[str, Parameter | None]) -> dict[str, Parameter | None]:
    if not space:
        raise UserError("there is nothing to vary; add a parameter, such as lr: {type: uniform, ...}")
    return space


search_space: Reader = checked(map_of(_PARAMETER), _check_space, type="object", minProperties=1)
"""Reads what a sweep varies."""
