"""The fetcher: a process of its own that downloads one input, and says so line by line on its standard output.

A process, because one signal ends it at any moment and a job's own Python, with fsspec and what that imports,
has nothing to do in the agent. Each line that is JSON is for the agent, any other for the log.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from regiment.jobs.locations import is_http, scheme, shown

ORDER = "REGIMENT_FETCH"
"""The variable with what to fetch: unlike arguments, others cannot read it, and URLs often hold keys."""


class CannotFetch(Exception):
    """The data could not be had; the message is a sentence for the user."""


def main() -> None:
    """Fetch what the order names, and say how that went; without a last word it has failed."""
    order = json.loads(os.environ.pop(ORDER))
    url, target, is_file = order["url"], order["target"], order["isFile"]
    start = time.monotonic()
    try:
        if is_http(url):
            from .download import download

            size = download(url, target, lambda done, total: _say(progress=done, total=total))
        else:
            size = _through_fsspec(url, target, is_file)
    except CannotFetch as error:
        _say(error=str(error))
        sys.exit(1)
    except OSError as error:
        _say(error=f"{shown(url)}: {error.strerror or error}")
        sys.exit(1)
    _say(done=size, seconds=round(time.monotonic() - start, 1))


def _say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


def _through_fsspec(url: str, target: str, is_file: bool) -> int:
    try:
        import fsspec
    except ImportError:
        raise CannotFetch(
            f"{shown(url)} is fetched through fsspec, which {sys.executable} does not have; "
            "install it there: pip install 'regiment[data]'"
        ) from None
    try:
        files, path = fsspec.core.url_to_fs(url)
        if not files.exists(path):
            raise CannotFetch(f"{shown(url)}: there is nothing there")
        if is_file:
            files.get_file(path, target)
        else:
            # With the slash what is in the folder, not the folder itself, goes below the target.
            files.get(path.rstrip("/") + "/", target + "/", recursive=True)
    except (ImportError, ValueError) as error:  # A scheme it doesn't know, or one that needs a package of its own.
        raise CannotFetch(f"{shown(url)}: fsspec cannot read {scheme(url)}:// here: {error}") from None
    except CannotFetch:
        raise
    except Exception as error:  # noqa: BLE001  (every file system behind fsspec has errors of its own)
        raise CannotFetch(f"{shown(url)}: {type(error).__name__}: {error}") from None
    return _size_of(target)


def _size_of(path: str) -> int:
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)
