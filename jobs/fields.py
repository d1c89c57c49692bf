"""What single values of a job file may be.

A reader takes a value and gives what it means, or raises UserError with a sentence about it; whoever called it
knows the place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from .errors import UserError
from .reading import Reader, Reading, Schema, Value, reads
from .tree import Broken, ItemList, Scalar, Section, Tree, shorten

_BARE_EXPONENT = re.compile(r"[-+]?\d{1,20}[eE][-+]?\d{1,5}", re.ASCII)
WORD: Schema = {"type": ["string", "number", "boolean"]}
"""The JSON schema of any single value."""


@reads({"type": "string"})
def text(value: Value, _reading: Reading) -> str:
    """Read text."""
    found = scalar(value, "text")
    if not isinstance(found.value, str):
        hint = "" if found.value is None else "; put it in quotes"
        raise UserError(f"expected text, found {describe(found)}{hint}")
    return found.value


@reads({"type": "integer"})
def whole_number(value: Value, _reading: Reading) -> int:
    """Read a whole number."""
    found = scalar(value, "a whole number")
    if isinstance(found.value, bool) or not isinstance(found.value, int):
        raise UserError(f"expected a whole number, found {describe(found)}{_unquote(found)}")
    if ":" in found.text:
        # YAML 1.1 counts in sixties what has a colon in it, as in times of the day; nobody counts anything else so.
        both = f"{shorten(found.text)}, which is {found.value} to YAML"
        raise UserError(f"expected a whole number, found {both}; write {found.value} if that is meant")
    return found.value


@reads({"type": ["number", "string"], "pattern": r"^[-+]?\d+[eE][-+]?\d+$"})
def number(value: Value, _reading: Reading) -> float:
    """Read a number, whole or not; also 1e-5, which YAML 1.1 calls text for want of a point."""
    found = scalar(value, "a number")
    if isinstance(found.value, str) and _BARE_EXPONENT.fullmatch(found.value):
        return _finite(found.value)
    if isinstance(found.value, bool) or not isinstance(found.value, (int, float)):
        raise UserError(f"expected a number, found {describe(found)}{_unquote(found)}")
    return found.value


@reads({"type": "boolean"})
def yes_or_no(value: Value, _reading: Reading) -> bool:
    """Read true or false."""
    found = scalar(value, "true or false")
    if not isinstance(found.value, bool):
        raise UserError(f"expected true or false, found {describe(found)}")
    return found.value


@reads(WORD)
def word(value: Value, _reading: Reading) -> str:
    """Read any single value as the text that was written; 0.10 stays '0.10', true stays 'true'."""
    found = scalar(value, "a single value")
    if found.value is None:
        raise UserError('expected a value, found nothing; write "" for an empty one, or remove the key')
    return found.text


def or_nothing(reader: Reader, nothing: Any = None) -> Reader:
    """Make a reader that also takes a key with nothing after it."""

    def read(value: Value, reading: Reading) -> Any:
        return nothing if is_nothing(value.tree) else reader(value, reading)

    return Reader(read, {"anyOf": [reader.schema, {"type": "null"}]})


def one_of(kind: type[Enum], aliases: Mapping[str, Enum] | None = None) -> Reader:
    """Make a reader of the values of an enum, and of other names for them, in any case."""
    known = {str(member.value): member for member in kind} | dict(aliases or {})

    def read(value: Value, reading: Reading) -> Enum:
        found = text(value, reading)
        if found.lower() not in known:
            raise UserError(f"unknown value '{shorten(found)}'; {reading.guess(found.lower(), known)}")
        return known[found.lower()]

    return Reader(read, any_case(*known))


def any_case(*words: str) -> Schema:
    """Give the JSON schema of some words in upper or lower case, with the usual ones for an editor to offer."""
    letters = ["".join(f"[{c.upper()}{c}]" if c.isalpha() else f"[{c}]" for c in word) for word in words]
    return {"anyOf": [{"enum": list(words)}, {"type": "string", "pattern": f"^({'|'.join(letters)})$"}]}


def checked(reader: Reader, check: Callable[[Any], Any], **schema: Any) -> Reader:
    """Make a reader whose result must pass a check, of which `schema` says what a JSON schema can."""
    return Reader(lambda value, reading: check(reader(value, reading)), {**reader.schema, **schema})


# Keys that are there for others


@reads({})
def dropped(_value: Value, _reading: Reading) -> None:
    """Pass over a key that says nothing about the job."""


@reads({})
def not_used(value: Value, reading: Reading) -> None:
    """Accept a key of Azure ML's that has no effect here."""
    reading.unused(value)


# What somebody wrote


def _finite(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise UserError(f"expected a number, found {shorten(text)}, which is too large for one")
    return found


def scalar(value: Value, wanted: str) -> Scalar:
    """Give a single value, or raise."""
    if not isinstance(value.tree, Scalar):
        raise UserError(f"expected {wanted}, found {describe(value.tree)}")
    return value.tree


def is_nothing(tree: Tree) -> bool:
    """Tell whether a key has no value."""
    return isinstance(tree, Scalar) and tree.value is None


def describe(tree: Tree) -> str:
    """Say what somebody wrote, for a message about it."""
    if isinstance(tree, Section):
        return "a mapping"
    if isinstance(tree, ItemList):
        return "a list"
    if isinstance(tree, Broken) or tree.value is None:
        return "nothing"
    if isinstance(tree.value, str):
        return f"the text '{shorten(tree.value)}'"
    return shorten(tree.text) if isinstance(tree.value, bool) else f"the number {shorten(tree.text)}"


def _unquote(found: Scalar) -> str:
    is_quoted_number = isinstance(found.value, str) and found.value.isdecimal()
    return "; remove the quotes" if is_quoted_number else ""
