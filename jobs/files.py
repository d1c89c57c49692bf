"""Writing files so that a reader sees the old content or the new one, never half of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def replace_file(path: Path, content: str) -> None:
    """Write a temporary file beside `path` and rename it into place; mode 0600."""
    replace_bytes(path, content.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Do the same with bytes. Nobody can foresee the temporary name, and nothing that is there already is opened."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, for this user alone (0700); gives it back."""
    missing, there = [], path
    while not there.is_dir():
        missing.append(there)
        there = there.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    return path


def append_text(path: Path, text: str) -> None:
    """Add text to the end of a file; mode 0600."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)


def replace_json(path: Path, data: Any) -> None:
    """Write plain data as indented JSON, atomically."""
    replace_file(path, json.dumps(data, indent=2) + "\n")
