"""The hosts that a run is to be on, as people write them: `gpu[01-16]`, `a:8,b:8`, or a file of lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import UserError

from .places.hostlist import expand

_SLOTS = re.compile(r"(?P<hosts>.*?)(?::(?P<count>[0-9]{1,6}))?", re.ASCII)
_LINE_SLOTS = re.compile(r"\s+slots\s*=\s*([0-9]{1,6})\b.*", re.ASCII)
_NAME = re.compile(r"[\w.@:%-]+")
_OUTSIDE = re.compile(r",(?![^\[]*\])")
"""A comma that is not in brackets."""


@dataclass(frozen=True)
class HostList:
    """Hosts in the order of their ranks."""

    names: tuple[str, ...]
    slots: int | None = None
    """Processes on each, where that was said."""


def read_hosts(text: str, by: str) -> HostList:
    """Read a list, whose words may have a number of processes behind them, one and the same.

    `by` is what people call the place where it stands. Raises UserError.
    """
    return _checked([(by, *_word(word, by)) for word in _OUTSIDE.split(text)], by)


def read_hostfile(text: str, by: str) -> HostList:
    """Read a file as mpirun and DeepSpeed have it: a host a line, `a`, `a:8` or `a slots=8`; `#` begins a comment."""
    words = []
    for number, whole in enumerate(text.splitlines(), 1):
        line = whole.partition("#")[0].strip()
        if line:
            found, where = _LINE_SLOTS.search(line), f"{by}, line {number}"
            word = line if found is None else f"{line[: found.start()]}:{found[1]}"
            words.append((where, *_word(word, where)))
    return _checked(words, by)


def _word(word: str, by: str) -> tuple[tuple[str, ...], int | None]:
    found = _SLOTS.fullmatch(word.strip())
    assert found is not None
    return expand(found["hosts"], by), None if found["count"] is None else int(found["count"])


def _checked(words: Sequence[tuple[str, tuple[str, ...], int | None]], by: str) -> HostList:
    """Put together what stands at several places, each of which people have a name for."""
    seen: dict[str, str] = {}
    for where, names, _ in words:
        for name in names:
            if name.startswith("-") or not _NAME.fullmatch(name):
                raise UserError(
                    f"{where}: {name!r} is no host name; names have letters, digits, dots and hyphens inside"
                )
            if name in seen:
                after = "twice" if seen[name] == where else f"again, after {seen[name]}"
                how = "name each host once, and say how many processes with --nproc"
                raise UserError(f"{where} names {name} {after}; {how}")
            seen[name] = where
    if not seen:
        raise UserError(f"{by} names no host")
    counts = {count for *_, count in words}
    if len(counts) > 1 or 0 in counts:
        raise UserError(f"{by} wants different numbers of processes; all nodes of a job have the same, such as a:8,b:8")
    return HostList(tuple(seen), counts.pop())
