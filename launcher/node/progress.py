"""Whether an attempt has left anything new: a checkpoint, a table, a log of the job's own."""

from __future__ import annotations

import os
from collections.abc import Iterable

_MOST = 10_000
"""Files that are looked at; a job with more makes its progress known by the time that it runs."""


class NewOutputs:
    """Remembers what there was at an attempt's start."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._folders = tuple(folders)
        self._before = self._sizes()

    def are_there(self) -> bool:
        """Say whether there is a file now that was not there, or has grown.

        One that was merely written again as it was, such as a list of the job's arguments, is no progress.
        """
        return any(size > self._before.get(path, -1) for path, size in self._sizes().items())

    def _sizes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for folder in self._folders:
            for top, _, names in os.walk(folder):
                for name in names:
                    if len(found) >= _MOST:
                        return found
                    path = os.path.join(top, name)
                    try:
                        found[path] = os.lstat(path).st_size
                    except OSError:
                        continue  # It has just been removed.
        return found
