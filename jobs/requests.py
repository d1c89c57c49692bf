"""What others ask of a run's record, one file a request: whoever may write the record takes them in their order.

A request is renamed into place, so it is there whole or not at all, and gone when it has been granted. One that was
refused leaves its reason behind, under the same name with another ending, for who asked to read and remove.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from .dataclass import dataclass
from .edits import Edit
from .files import replace_file, replace_json
from .plain import PlainError, from_plain, to_plain


@dataclass(frozen=True)
class Cancel:
    """End the run's processes."""

    reason: str
    force: bool = False
    """SIGKILL at once."""
    type: Literal["cancel"] = "cancel"


@dataclass(frozen=True)
class Rejoin:
    """Start the lost nodes of an elastic run again."""

    type: Literal["rejoin"] = "rejoin"


Request = Cancel | Rejoin | Edit
_REFUSED = ".refused"


def leave(folder: Path, request: Request) -> Path:
    """Leave a request; gives its path. Raises FileNotFoundError where the run is gone."""
    path = folder / f"{time.time_ns():020}-{os.urandom(4).hex()}.json"
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            replace_json(path, to_plain(request))
        except FileNotFoundError:
            continue  # A coordinator at its end takes the folder away when there is nothing in it.
        return path


def pending(folder: Path, complain: Callable[[str], None] = lambda text: None) -> Iterator[tuple[Path, Request]]:
    """Give the requests in the order they were left; those that cannot be read are refused, and `complain` is told."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))
    except FileNotFoundError:
        return
    for name in names:
        path = folder / name
        try:
            data: Any = json.loads(path.read_text("utf-8"))
            yield path, from_plain(Request, data)  # type: ignore[arg-type]
        except FileNotFoundError:
            continue  # Granted by another meanwhile, or the workspace is being deleted under the run.
        except (OSError, ValueError, PlainError) as error:
            refuse(path, f"the request cannot be read: {error}")
            complain(f"a request cannot be read: {path}: {error}")


def grant(path: Path) -> None:
    """Take a request away that has been done."""
    path.unlink(missing_ok=True)


def refuse(path: Path, reason: str) -> None:
    """Take a request away that may not be, and leave the reason."""
    replace_file(path.with_suffix(_REFUSED), reason)
    path.unlink(missing_ok=True)


def refusal(path: Path) -> str | None:
    """Give the reason that a request of ours was refused for, and remove it; None where it was granted."""
    answer = path.with_suffix(_REFUSED)
    try:
        reason = answer.read_text("utf-8")
    except FileNotFoundError:
        return None
    answer.unlink(missing_ok=True)
    return reason
