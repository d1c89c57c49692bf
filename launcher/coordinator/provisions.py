"""What every node of a run is to have before it starts, worked out once for all: the snapshot, and local inputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import chain

from regiment.distribution.data import InputPlan
from regiment.jobs.data import DataMode
from regiment.jobs.errors import ProtocolError
from regiment.jobs.locations import scheme
from regiment.jobs.workspace import RunFolder

from ..node import messages
from ..node.carrying import files_of, known, listing, parts_of, pieces_of
from ..node.loop import Loop
from ..node.parts import Form, Part

Found = tuple[tuple[Part, ...], str | None]
"""What there is, and what could not be read of it."""


class Provisions:
    """One run's."""

    def __init__(self, loop: Loop, folder: RunFolder, order: messages.Prepare) -> None:
        self._loop = loop
        self._folder = folder
        self._has_code = order.code is not None
        self._inputs = tuple(order.plan.data.inputs) if order.plan is not None else ()
        self._numbers = tuple(map(str, range(len(self._inputs))))
        self._found: Found | None = None
        self._waiting: list[Callable[[Found], None]] | None = None

    def tell(self, callback: Callable[[Found], None]) -> None:
        """Call back with what there is, each file by its hash and each input by what it looks like."""
        if self._found is not None:
            callback(self._found)
        elif self._waiting is not None:
            self._waiting.append(callback)
        else:
            self._waiting = [callback]
            # In a thread: to read all of it may take longer than agents may wait for a word.
            threading.Thread(target=self._work, daemon=True).start()

    def contents(self, paths: tuple[str, ...]) -> Iterator[Part]:
        """Give what a node lacks; raises ProtocolError if it asks for anything else, OSError if it cannot be read."""
        for path in paths:
            top, _, rest = path.partition("/")
            if top == "inputs" and rest in self._numbers:
                yield from files_of(self._inputs[self._numbers.index(rest)].source, path)
            elif top == "code" and ".." not in path.split("/"):
                yield from pieces_of(path, str(self._folder.root / path))
            else:
                raise ProtocolError(f"it asks for {path!r}, which it is not to have")

    def _work(self) -> None:
        problems: list[str] = []
        code = parts_of(self._folder.code, self._folder.root, problems.append, known) if self._has_code else ()
        parts = tuple(chain(code, self._looks()))
        self._loop.post(lambda: self._tell_all((parts, problems[0] if problems else None)))

    def _looks(self) -> Iterator[Part]:
        for index, item in enumerate(self._inputs):
            if _is_brought(item) and (digest := listing(item.source)) is not None:
                yield Part(0, f"inputs/{index}", Form.SEEN, data=item.source, digest=digest)

    def _tell_all(self, found: Found) -> None:
        self._found = found
        waiting, self._waiting = self._waiting or [], None
        for callback in waiting:
            callback(found)


def _is_brought(item: InputPlan) -> bool:
    """Say whether an input is a local file or folder: the others the node fetches itself, or gets as they are."""
    return item.mode is not DataMode.DIRECT and scheme(item.source) is None
