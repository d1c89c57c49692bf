"""The values of YAML's scalars, as PyYAML's safe loader reads them (YAML 1.1), but dates stay text."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from .tree import shorten

CORE = "tag:yaml.org,2002:"
"""What the tags of YAML's own types begin with."""

_LARGEST = 2**63
_LONGEST_NUMBER = 100  # characters; longer ones are not even turned into numbers, which takes quadratic time
_UNUSABLE = re.compile("[\0\ud800-\udfff]")  # what no program takes as an argument, and no file name holds

_resolver: Any = yaml.resolver.Resolver()
_constructor = yaml.constructor.SafeConstructor()


def resolve(event: Any) -> str:
    """Give the tag of a scalar that has none written: a quoted one is text, another what it looks like."""
    tag: str = _resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
    return tag


def convert(tag: str, text: str) -> str | int | float | bool | None:
    """Give a scalar's value, or raise ValueError with a sentence."""
    if _UNUSABLE.search(text):
        raise ValueError("the text has a character that no program takes (NUL or half a character); remove it")
    kind = tag.removeprefix(CORE)
    if kind == "null":
        return None
    if kind not in ("int", "float", "bool"):
        return text
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("the number is too large; put it in quotes if it is meant as text")
    node = yaml.ScalarNode(tag, text)
    try:
        value = getattr(_constructor, f"construct_yaml_{kind}")(node)
    except (ValueError, KeyError, IndexError, OverflowError):
        raise ValueError(f"'{shorten(text)}' is not what its tag says; remove the tag") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"'{shorten(text)}' is no finite number; put it in quotes if it is meant as text")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError("the number is too large; put it in quotes if it is meant as text")
    assert isinstance(value, (int, float, bool))
    return value
