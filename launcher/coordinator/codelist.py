"""The run's snapshot as its nodes are told of it: every file by its hash, worked out once for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from regiment.jobs.workspace import RunFolder

from ..node.carrying import known, parts_of
from ..node.loop import Loop
from ..node.parts import Part

Found = tuple[tuple[Part, ...], str | None]
"""The list, and what could not be read of it."""


class CodeList:
    """One run's."""

    def __init__(self, loop: Loop, folder: RunFolder) -> None:
        self._loop = loop
        self._folder = folder
        self._found: Found | None = None
        self._waiting: list[Callable[[Found], None]] | None = None

    def tell(self, callback: Callable[[Found], None]) -> None:
        """Call back with the list, as soon as there is one."""
        if self._found is not None:
            callback(self._found)
        elif self._waiting is not None:
            self._waiting.append(callback)
        else:
            self._waiting = [callback]
            # In a thread: to read all of it may take longer than agents may wait for a word.
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        problems: list[str] = []
        parts = tuple(parts_of(self._folder.code, self._folder.root, problems.append, known))
        self._loop.post(lambda: self._tell_all((parts, problems[0] if problems else None)))

    def _tell_all(self, found: Found) -> None:
        self._found = found
        waiting, self._waiting = self._waiting or [], None
        for callback in waiting:
            callback(found)
