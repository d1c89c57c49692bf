"""Where data lies: local paths and URLs, what a file there is called, and how both are shown without secrets."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_HTTP = frozenset({"http", "https"})


def scheme(location: str) -> str | None:
    """Give a URL's scheme in lower case, or None for a local path."""
    found = _SCHEME.match(location)
    return found[1].lower() if found else None


def is_http(location: str) -> bool:
    """Say whether it is an http or https URL."""
    return scheme(location) in _HTTP


def file_name(location: str) -> str:
    """Give the name of the file that a path or URL leads to, safe as one path component."""
    if scheme(location) is None:
        return location.rstrip("/").rpartition("/")[2]
    path = re.split(r"[?#]", location.partition("://")[2], maxsplit=1)[0].partition("/")[2]
    name = path.rstrip("/").rpartition("/")[2]
    if "%" in name:
        from urllib.parse import unquote  # Worth its milliseconds only here.

        name = unquote(name)
    return "data" if name in ("", ".", "..") or "/" in name or "\0" in name else name


def shown(location: str) -> str:
    """Give a location for people and logs: a URL without user, password and query, which often hold keys."""
    if scheme(location) is None:
        return location
    start, _, rest = location.partition("://")
    path, mark, _ = rest.partition("?")
    host, slash, tail = path.partition("/")
    return f"{start}://{host.rpartition('@')[2]}{slash}{tail}{'?...' if mark else ''}"
