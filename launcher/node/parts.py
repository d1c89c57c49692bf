"""What is carried between a node without the shared run folder and the run folder: files, in numbered parts.

Each part says by itself where it belongs. The numbers make a stream of them that survives its connection: what
the other side has not said to have taken is sent again over the next one, and what comes twice is known by its number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal

from regiment.jobs.dataclass import dataclass

from .channel import encode

PIECE = 64 * 1024
"""Most bytes of a file in one part: between two of them other messages find their way."""
WINDOW = 2 * 1024 * 1024
"""Bytes on the way at most, which the sender keeps until they have been taken."""


class Form(Enum):
    """What a part is."""

    GROWN = "grown"
    """More of a file that grows, such as a log; with offset 0 all that came before is void."""
    WHOLE = "whole"
    """A piece of a file that is there when all of it is; the last piece has a digest."""
    KNOWN = "known"
    """A file that the other side may have the content of, by its digest; `offset` is its size."""
    SEEN = "seen"
    """A file or folder, its place in `data`, that the other side may see too: then the digest is that of its look."""
    LINK = "link"
    """A symbolic link, with the text of its target."""
    FOLDER = "folder"
    """A folder, which may stay empty."""
    GONE = "gone"
    """A file that grew is not to be there any more."""


@dataclass(frozen=True)
class Part:
    """One part; `path` is relative to the run folder, with slashes."""

    number: int
    """Counts a sender's parts, from 1."""
    path: str
    form: Form
    offset: int = 0
    data: str = ""
    """In base64; a link's target as it is."""
    digest: str | None = None
    """SHA-256 of the whole file, with the last piece."""
    mode: int = 0o600
    """The file's permissions, with the last piece."""
    modified: int = 0
    """When it was changed, in nanoseconds of Unix time, with the last piece."""
    type: Literal["part"] = "part"


@dataclass(frozen=True)
class Taken:
    """All parts up to this number have been taken, as far as they could be."""

    number: int
    problems: tuple[str, ...] = ()
    """What could not be written down since the last such word, and why."""
    missing: tuple[str, ...] = ()
    """What was known or seen of the parts since then and isn't there, and has to be sent."""
    type: Literal["taken"] = "taken"


class Outflow:
    """Sends parts, each once, in order, and no more at a time than the window takes."""

    def __init__(self, send_line: Callable[[bytes], None]) -> None:
        self._send_line = send_line
        self._number = 0
        self._unsent: deque[tuple[int, bytes]] = deque()
        self._on_the_way: deque[tuple[int, bytes]] = deque()
        self._size = 0

    @property
    def has_room(self) -> bool:
        """Say whether another part may be given."""
        return self._size < WINDOW

    @property
    def is_empty(self) -> bool:
        """Say whether all parts have been taken."""
        return not self._size

    def add(self, part: dict[str, Any]) -> None:
        """Take a part, without its number, to be sent with the next `flush`."""
        self._number += 1
        line = _line({**part, "number": self._number})
        self._size += len(line)
        self._unsent.append((self._number, line))

    def flush(self) -> None:
        """Send what has not been sent yet."""
        while self._unsent:
            self._on_the_way.append(self._unsent.popleft())
            self._send_line(self._on_the_way[-1][1])

    def again(self) -> None:
        """Send what has not been taken once more: the connection is a new one."""
        self._unsent.extendleft(reversed(self._on_the_way))
        self._on_the_way.clear()
        self.flush()

    def taken(self, number: int) -> None:
        """Forget the parts up to that number."""
        while self._on_the_way and self._on_the_way[0][0] <= number:
            self._size -= len(self._on_the_way.popleft()[1])


def _line(part: dict[str, Any]) -> bytes:
    """Encode a part; its base64 needs no look at each character for what JSON has to escape, which takes longest."""
    if part["form"] not in _IN_BASE64:
        return encode(part)
    data = part.pop("data").encode("ascii")
    return b'%s,"data":"%s"}\n' % (encode(part)[: -len(b"}\n")], data)


_IN_BASE64 = frozenset({Form.GROWN.value, Form.WHOLE.value})
