"""A file of JSON objects, one a line, only ever appended to: what has happened stays written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Appends entries; one that a full disk cut short never spoils the next."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._torn = False

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry in one piece; raises OSError if it is not all there."""
        self.append_line(json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def append_line(self, data: bytes) -> None:
        """Write one entry that is a line of JSON already, newline and all."""
        if self._torn:
            data = b"\n" + data
        self._torn = True
        written = os.write(self._file, data)
        if written != len(data):
            raise OSError(f"only {written} of {len(data)} bytes could be written")
        self._torn = False

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Give the entries in order; lines that a crash or a full disk cut short are left out."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry
