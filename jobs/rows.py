"""JSON with long lists: an item a line, and never all of it in memory at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def with_rows(head: Mapping[str, Any], lists: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Give, in pieces, an object of JSON with long lists at its end, whose items are JSON already: a line each."""
    yield json.dumps(head, indent=2)[:-2]
    for key, rows in lists.items():
        before = f",\n  {json.dumps(key)}: [\n    "
        is_empty = True
        for row in rows:
            yield f"{before}{row}"
            before, is_empty = ",\n    ", False
        yield f"{before.rstrip()}]" if is_empty else "\n  ]"
    yield "\n}\n"
