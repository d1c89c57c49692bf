"""Numbers, addresses and JSON, read strictly, and with the variable's name in every complaint."""

from __future__ import annotations

import json
import re
from typing import Any

from regiment.jobs.errors import UserError

from .place import Environ, Said, What

MOST_NODES = 1_000_000
"""No cluster has as many nodes; a larger number is none of nodes."""
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_HOST = re.compile(r"[0-9A-Za-z._:%-]{1,253}", re.ASCII)
_INDEX = re.compile(r"(.*?)([0-9]+)", re.ASCII)
_SHOWN = 60


def count(text: str, by: str) -> Said:
    """Read a number of nodes."""
    return Said(What.NODES, str(_number(text, by, 1, MOST_NODES)), by)


def rank(text: str, by: str) -> Said:
    """Read a node rank."""
    return Said(What.RANK, str(_number(text, by, 0, MOST_NODES - 1)), by)


def port(text: str, by: str) -> Said:
    """Read a port."""
    return Said(What.PORT, str(_number(text, by, 1, 65535)), by)


def host(text: str, by: str) -> Said:
    """Read a host's name or address."""
    if not _HOST.fullmatch(text) or text.startswith("-"):
        raise UserError(f"{by} must be a host's name or address; it is {shown(text)}")
    return Said(What.HOST, text, by)


def endpoint(text: str, by: str) -> tuple[Said, ...]:
    """Read ADDRESS:PORT, or an address alone; an IPv6 address before a port stands in brackets."""
    name, bracket, rest = text[1:].partition("]") if text.startswith("[") else (text, "", "")
    if not bracket:
        # Several colons without brackets: an IPv6 address that has no port.
        name, colon, rest = text.partition(":") if text.count(":") == 1 else (text, "", "")
        rest = colon + rest
    if rest and not rest.startswith(":"):
        raise UserError(f"{by} must be ADDRESS:PORT, such as 10.0.0.1:29400; it is {shown(text)}")
    found = host(name, by)
    return (found, port(rest[1:], by)) if rest else (found,)


def whole(environ: Environ, name: str) -> int:
    """Read a variable that must be a number."""
    return _number(environ.get(name, ""), name, 0, MOST_NODES)


def document(text: str, by: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{by} is not a JSON object; it begins with {shown(text)}")
    return found


def texts(value: object, by: str) -> list[str]:
    """See that it is a list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UserError(f"{by} is not a list of names")
    return value


def natural(name: str) -> tuple[str, int, str]:
    """Give a key to sort by: `algo-2` comes before `algo-10`."""
    found = _INDEX.fullmatch(name)
    return (found[1], int(found[2][:18]), name) if found else (name, -1, name)


def shown(text: str) -> str:
    """Give a stranger's text as a complaint shows it."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _number(text: str, by: str, least: int, most: int) -> int:
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise UserError(f"{by} must be a whole number from {least} to {most}; it is {shown(text)}")
    return int(text)
