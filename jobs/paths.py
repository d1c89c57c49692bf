"""Paths and URLs in a job file: which is which, and where local ones lead."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import UserError
from .reading import Reading, Value
from .tree import shorten

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # two letters at least, for C:\data is a path
_ARM_ID = "/subscriptions/"
_FILE_URL = "file://"
INCLUDE = "file:"
"""What stands before the path of a file whose content is meant."""


def is_elsewhere(named: str) -> bool:
    """Tell whether a name is no local path: a URL, `azureml:...` or an id of Azure's."""
    return named.startswith(_ARM_ID) or (_SCHEME.match(named) is not None and not named.startswith(INCLUDE))


def resolve(named: str, value: Value, reading: Reading) -> str:
    """Give the absolute path that is meant by a local path in a value, with or without `file:` before it."""
    path = named.removeprefix(_FILE_URL).removeprefix(INCLUDE)
    if not path:
        raise UserError("the path is empty; name a file or a folder")
    return os.path.normpath(reading.folder_of(value) / path)


def existing(named: str, value: Value, reading: Reading, kind: str = "file or folder") -> str:
    """Give the absolute path of something that is there; with `--no-paths` it need not be."""
    path = resolve(named, value, reading)
    if reading.paths and not has_kind(path, kind):
        folder = reading.folder_of(value)
        raise UserError(
            f"there is no {kind} '{shorten(named)}' in {folder}; the path starts from the job file's folder"
        )
    return path


def has_kind(path: str, kind: str) -> bool:
    """Tell whether there is a `file`, a `folder`, or a `file or folder` at a path; a broken name leads to nothing."""
    place = Path(path)
    try:
        return (kind != "folder" and place.is_file()) or (kind != "file" and place.is_dir())
    except (OSError, ValueError):
        return False
