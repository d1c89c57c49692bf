"""Slurm's lists of hosts, `gpu[001-003,007],login`, as names."""

from __future__ import annotations

import itertools
import re

from regiment.jobs.errors import UserError

from .values import MOST_NODES, shown

_WORD = re.compile(r"(?:[^\[\],]|\[[^\[\]]*\])+")
_PART = re.compile(r"\[([^\[\]]*)\]|([^\[\]]+)")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)


def expand(text: str, by: str) -> tuple[str, ...]:
    """Give the names of a list in its order.

    Raises:
        UserError: it is no such list.
    """
    names: list[str] = []
    position = 0
    while position < len(text):
        word = _WORD.match(text, position)
        if word is None:
            raise _no_list(text, by)
        names += _names(word[0], text, by, MOST_NODES - len(names))
        position = word.end()
        if position < len(text):
            if text[position] != "," or position + 1 == len(text):
                raise _no_list(text, by)
            position += 1
    if not names:
        raise _no_list(text, by)
    return tuple(names)


def _names(word: str, text: str, by: str, most: int) -> list[str]:
    parts: list[list[str]] = []
    total = 1
    for found in _PART.finditer(word):
        part = [found[2]] if found[2] is not None else _numbers(found[1], text, by, most)
        total *= len(part)
        if total > most:
            raise _no_list(text, by)
        parts.append(part)
    return ["".join(name) for name in itertools.product(*parts)]


def _numbers(inside: str, text: str, by: str, most: int) -> list[str]:
    numbers: list[str] = []
    for piece in inside.split(","):
        found = _RANGE.fullmatch(piece)
        if found is None:
            raise _no_list(text, by)
        first, last = found[1], found[2] or found[1]
        if not 0 <= int(last) - int(first) < most - len(numbers):
            raise _no_list(text, by)
        # Zeros in front are part of the name.
        numbers += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return numbers


def _no_list(text: str, by: str) -> UserError:
    return UserError(f"{by} is no list of hosts such as n[1-4]; it is {shown(text)}")
