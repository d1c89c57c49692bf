"""In what two runs differ, computed from facts about each."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .dataclass import dataclass

Facts = Mapping[str, Mapping[str, str]]
"""What is known of one run: for each section the values by name."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same."""

    section: str
    key: str
    one: str | None
    """The first run's value; None where it has none."""
    other: str | None


def differences(one: Facts, other: Facts) -> tuple[Difference, ...]:
    """Compare two runs, in the order of the first one's sections and, in each, of its keys."""
    return tuple(
        Difference(section, key, one.get(section, {}).get(key), other.get(section, {}).get(key))
        for section in _both(one, other)
        for key in _both(one.get(section, {}), other.get(section, {}))
        if one.get(section, {}).get(key) != other.get(section, {}).get(key)
    )


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [*one, *(key for key in other if key not in one)]


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Give nested data as one level: `{"a": {"b": [1]}}` is `{"a.b[0]": "1"}`."""
    if isinstance(value, Mapping):
        pairs = [(f"{prefix}.{key}" if prefix else str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{prefix}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {prefix: str(value)}
    return {key: text for name, item in pairs for key, text in flat(item, name).items()}


def arguments(command: str) -> dict[str, str]:
    """Give a command's words by name: `train.py --lr 0.1` is `{"word 1": "train.py", "--lr": "0.1"}`.

    A flag's value is what follows its `=`, or the next word unless that is a flag too. One that is given more often
    has a number behind its name. A command that no shell could split is one word.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = [command]
    found: dict[str, str] = {}
    for name, value in _named(words):
        key, number = name, 1
        while key in found:
            number += 1
            key = f"{name} ({number})"
        found[key] = value
    return found


def _named(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    flag: str | None = None
    place = 0
    for word in words:
        if _is_flag(word):
            if flag is not None:
                yield flag, ""
            name, equals, value = word.partition("=")
            flag = None if equals else name
            if equals:
                yield name, value
        elif flag is not None:
            yield flag, word
            flag = None
        else:
            place += 1
            yield f"word {place}", word
    if flag is not None:
        yield flag, ""


def _is_flag(word: str) -> bool:
    """Say whether a word is a flag; a negative number is a value."""
    return len(word) > 1 and word[0] == "-" and not word[1].isdigit() and word[1] != "."


def changed_lines(name: str, one: str, other: str) -> list[str]:
    """Give the lines in which a text differs, as `diff -u` does."""
    lines = difflib.unified_diff(one.splitlines(), other.splitlines(), f"a/{name}", f"b/{name}", lineterm="")
    return list(lines)
