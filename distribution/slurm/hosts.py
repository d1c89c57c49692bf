"""Slurm's lists of host names, such as `gpu[01-04,07],login`, as `scontrol show hostnames` takes them apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from regiment.jobs.errors import UserError

_MOST = 1_000_000
_RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?", re.ASCII)
_PIECES = re.compile(r"\[([^\[\]]*)\]|([^\[\],\s]+)")


def host_names(text: str) -> tuple[str, ...]:
    """Give the names in a list of hosts, in its order; numbers keep their leading zeros.

    Raises:
        UserError: It is not such a list.
    """
    names: list[str] = []
    for item in _split(text):
        names += _expanded(item, text)
        if len(names) > _MOST:
            raise UserError(f"the list of hosts {text[:60]!r} has more than {_MOST:,} names")
    return tuple(names)


def _split(text: str) -> Iterator[str]:
    """Give the items between commas that are not in brackets."""
    depth, start = 0, 0
    for place, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def _expanded(item: str, text: str) -> list[str]:
    parts: list[list[str]] = []
    end = 0
    for found in _PIECES.finditer(item):
        if found.start() != end:
            break
        end = found.end()
        parts.append([found[2]] if found[1] is None else list(_numbers(found[1], text)))
    if end != len(item) or not parts:
        raise UserError(f"{text[:200]!r} is not a list of hosts as Slurm writes them")
    return ["".join(chosen) for chosen in product(*parts)]


def _numbers(ranges: str, text: str) -> Iterator[str]:
    for part in ranges.split(","):
        found = _RANGE.fullmatch(part)
        if not found:
            raise UserError(f"{text[:200]!r} is not a list of hosts as Slurm writes them: '{part[:60]}' is no range")
        first, last = found[1], found[2] or found[1]
        if not 0 <= int(last) - int(first) < _MOST:
            raise UserError(f"{text[:200]!r} is not a list of hosts as Slurm writes them: '{part[:60]}' is no range")
        for number in range(int(first), int(last) + 1):
            yield str(number).zfill(len(first))
