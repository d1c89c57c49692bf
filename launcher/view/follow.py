"""The growing logs of a run's processes, read line by line in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

from regiment.jobs.dataclass import dataclass

PIECE = 8 * 1024
"""Longest piece of a line in bytes; a longer line is given in several."""
CHUNK = 64 * 1024
"""Bytes read at once, and about what one `read_new` gives at most."""
_TAIL_REACH = 4 * 1024 * 1024
"""How far back `tail_offset` looks, however long the lines are."""


@dataclass(frozen=True)
class Line:
    """A line of a log, or a piece of a very long one, without its newline."""

    rank: int
    data: bytes
    """What a terminal would show of it at the end: of what carriage returns overwrote, the last state."""
    continued: bool = False
    """Whether it goes on with the line that the piece before it began."""
    ended: bool = True
    """Whether its line ends with it."""


class LogFollower:
    """The logs of several ranks, each read once from where the last reading ended.

    Files are opened by name at each reading, so that a thousand ranks need no thousand descriptors and a log
    that appears late is just a log that is empty so far. A file that shrank or was replaced is begun anew.
    """

    def __init__(self, logs: Mapping[int, Path] | None = None) -> None:
        self._places = {rank: _Place(rank, path) for rank, path in (logs or {}).items()}

    def follow(self, rank: int, path: Path) -> None:
        """Follow this file as the rank's log; a path it has already goes on where it was."""
        place = self._places.get(rank)
        if place is None or place.path != path:
            self._places[rank] = _Place(rank, path)

    def read_new(self, rank: int, up_to: int | None = None) -> list[Line]:
        """Give the next lines of a rank's log, reading no further than byte `up_to`.

        One call gives what about 64 KiB of the file hold, at least one line if there is any: call again until
        nothing comes. A line without its newline is kept back until the newline or `finish`.
        """
        place = self._places[rank]
        try:
            with place.path.open("rb", buffering=0) as file:
                lines = place.restart_if_replaced(os.fstat(file.fileno()))
                file.seek(place.offset)
                while not lines:
                    limit = CHUNK if up_to is None else min(CHUNK, up_to - place.offset)
                    chunk = file.read(limit) if limit > 0 else b""
                    if not chunk:
                        break
                    place.offset += len(chunk)
                    lines = place.feed(chunk)
                return lines
        except OSError:  # not there yet, or for the moment out of reach: the next reading goes on from here
            return []

    def finish(self, rank: int) -> list[Line]:
        """Give the last line that never got its newline, if there is one."""
        return self._places[rank].finish()

    def partial(self, rank: int) -> bytes:
        """Give what is there so far of a line without its newline: a prompt, or a progress bar's state."""
        return _last_state(self._places[rank].rest)

    def offset(self, rank: int) -> int:
        """Tell how many bytes of the log have been read."""
        return self._places[rank].offset

    def seek(self, rank: int, offset: int) -> None:
        """Read on from here, the beginning of a line."""
        self._places[rank].move(offset, inside_line=False)

    def skip(self, rank: int, keep: int) -> int:
        """Leave out all but the last `keep` bytes of what has not been read; give how many bytes that were."""
        place = self._places[rank]
        try:
            target = place.path.stat().st_size - keep
        except OSError:
            return 0
        left_out = target - place.offset
        if left_out <= 0:
            return 0
        place.move(target, inside_line=True)
        return left_out


class _Place:
    """How far one log has been read, and the line that was not finished there."""

    def __init__(self, rank: int, path: Path) -> None:
        self.rank = rank
        self.path = path
        self.offset = 0
        self.rest = b""
        self.inside_line = False
        self._file: tuple[int, int] | None = None

    def restart_if_replaced(self, stat: os.stat_result) -> list[Line]:
        """Begin at the start of a file that is another one, or shorter, than at the last reading."""
        file = (stat.st_dev, stat.st_ino)
        replaced = self._file not in (None, file) or stat.st_size < self.offset
        self._file = file
        if not replaced:
            return []
        lines = self.finish()
        self.offset = 0
        return lines

    def move(self, offset: int, inside_line: bool) -> None:
        self.offset = offset
        self.rest = b""
        self.inside_line = inside_line

    def feed(self, chunk: bytes) -> list[Line]:
        """Take the next bytes of the file and give the lines, and pieces of long ones, they complete."""
        *whole, rest = (self.rest + chunk).split(b"\n")
        lines: list[Line] = []
        for line in whole:
            lines.extend(self._pieces(_last_state(line), ended=True))
        self.rest = _shortened(rest)
        if len(self.rest) > PIECE:
            lines.extend(self._pieces(self.rest, ended=False))
        return lines

    def finish(self) -> list[Line]:
        if not self.rest:
            self.inside_line = False
            return []
        last, self.rest = self.rest, b""
        return list(self._pieces(_last_state(last), ended=True))

    def _pieces(self, line: bytes, ended: bool) -> Iterator[Line]:
        while len(line) > PIECE:
            end = _good_end(line)
            yield Line(self.rank, line[:end], continued=self.inside_line, ended=False)
            self.inside_line = True
            line = line[end:]
        if ended:
            yield Line(self.rank, line, continued=self.inside_line)
            self.inside_line = False
        else:
            self.rest = line


def _last_state(line: bytes) -> bytes:
    r"""Give what follows the last `\r` that anything follows."""
    if b"\r" not in line:
        return line
    return line.rstrip(b"\r").rsplit(b"\r", 1)[-1]


def _shortened(rest: bytes) -> bytes:
    r"""Forget the overwritten states of a line that goes on; a last `\r` stays, as more may overwrite this."""
    if b"\r" not in rest:
        return rest
    return _last_state(rest) + (b"\r" if rest.endswith(b"\r") else b"")


def _good_end(line: bytes) -> int:
    """Find where to cut a long line: not inside a character, nor inside a colour sequence."""
    end = PIECE
    for back in range(4):
        if line[end - back] & 0xC0 != 0x80:
            end -= back
            break
    escape = line.rfind(b"\x1b", end - 16, end)
    return escape if escape != -1 and b"m" not in line[escape:end] else end


def tail_offset(path: Path, count: int) -> int:
    """Find the byte where the last `count` lines of a file begin, reading backwards from its end only.

    It looks back four megabytes at most (more for very many lines), which then begins inside a line.
    """
    with path.open("rb", buffering=0) as file:
        size = end = file.seek(0, os.SEEK_END)
        reach = max(0, size - max(_TAIL_REACH, count * PIECE))
        missing = count
        while end > reach:
            start = max(reach, end - CHUNK)
            file.seek(start)
            block = file.read(end - start)
            # The newline that ends the file ends its last line and begins none.
            found = len(block) - 1 if end == size and block.endswith(b"\n") else len(block)
            while (found := block.rfind(b"\n", 0, found)) != -1:
                missing -= 1
                if missing == 0:
                    return start + found + 1
            end = start
        return reach


def tail(path: Path, count: int, rank: int = 0) -> list[Line]:
    """Give the last `count` lines of a file, or the last pieces where lines are very long."""
    if count < 1:
        return []
    follower = LogFollower({rank: path})
    try:
        follower.seek(rank, tail_offset(path, count))
    except OSError:
        return []
    last: deque[Line] = deque(maxlen=count)
    while lines := follower.read_new(rank):
        last.extend(lines)
    last.extend(follower.finish(rank))
    return list(last)
