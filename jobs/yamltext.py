"""Plain data as YAML, without the library for that, which takes longer to import than a rank to start.

Every string that could be read as something else is in quotes, as JSON writes it, for JSON is YAML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_STEP = "  "


def yaml_text(data: Mapping[str, Any]) -> str:
    """Give mappings and lists in blocks, all else in one line each."""
    return "".join(f"{line}\n" for line in _lines(data))


def _lines(data: Any) -> Iterator[str]:
    pairs = (
        [(f"{_scalar(key)}:", item) for key, item in data.items()]
        if isinstance(data, Mapping)
        else [("-", item) for item in data]
    )
    for head, item in pairs:
        if isinstance(item, (Mapping, list, tuple)) and item:
            yield head
            yield from (f"{_STEP}{line}" for line in _lines(item))
        else:
            yield f"{head} {_scalar(item)}"


def _scalar(item: Any) -> str:
    if isinstance(item, (Mapping, list, tuple)):
        return "{}" if isinstance(item, Mapping) else "[]"
    if isinstance(item, str) and re.fullmatch(r"[A-Za-z_]+[./-]?[A-Za-z_]+", item) and item.lower() not in _WORDS:
        return item
    if isinstance(item, float):
        return _number(item)
    return "".join(map(_printable, json.dumps(item, ensure_ascii=False)))


_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null"})
"""What YAML would not read as words."""


def _number(item: float) -> str:
    # YAML takes a number with an exponent and no point for a word.
    text = repr(item)
    mantissa, e, exponent = text.partition("e")
    if text in ("inf", "-inf", "nan"):
        return text.replace("inf", ".inf").replace("nan", ".nan")
    return f"{mantissa if '.' in mantissa else f'{mantissa}.0'}{e}{exponent}"


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
