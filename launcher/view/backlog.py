"""The lines of a run's logs that have not been shown yet, served rank by rank in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from .follow import Line, LogFollower, tail_offset
from .model import ProcessView


class Backlog:
    """What is still to be read of the logs; the files themselves are the buffer, so it never grows.

    A viewer takes from it only what its terminal or pipe can swallow, and nothing upstream ever waits.
    """

    def __init__(
        self, run_folder: Path, chosen: Callable[[ProcessView], bool] | None = None, tail: int | None = None
    ) -> None:
        self._run_folder = run_folder
        self._chosen = chosen
        self._tail = tail
        self._follower = LogFollower()
        self._ranks: dict[int, Path] = {}
        self._waiting: dict[int, None] = {}  # a queue without doubles
        self._announced: dict[int, int] = {}
        self._earlier: list[tuple[LogFollower, dict[int, None]]] = []

    def begin(self, processes: Iterable[ProcessView], attempt: int = 0) -> None:
        """Follow the logs of these processes, those that were chosen, from now on.

        What was not read yet of an earlier attempt's comes first.
        """
        unread = dict.fromkeys(rank for rank in self._ranks if self._is_looked_at(rank))
        if unread:
            self._earlier.append((self._follower, unread))
        self._follower = LogFollower()
        # Files by their own names: the link leads to another attempt's before all of this one's are read.
        own = self._run_folder / "attempts" / str(attempt)
        folder = own if own.is_dir() else self._run_folder
        self._ranks = {
            process.rank: folder / process.log for process in processes if self._chosen is None or self._chosen(process)
        }
        self._waiting.clear()
        self._announced.clear()
        for rank, path in self._ranks.items():
            self._follower.follow(rank, path)
            if self._tail is not None:
                self._seek_tail(rank, path, self._tail)
        self._tail = None  # what a later attempt writes is new from its first line

    def _is_looked_at(self, rank: int) -> bool:
        # Of a log that was read so far a line without its newline may still be kept back.
        return rank in self._waiting or rank in self._announced or self._follower.offset(rank) > 0

    def _seek_tail(self, rank: int, path: Path, count: int) -> None:
        try:
            self._follower.seek(rank, tail_offset(path, count) if count > 0 else path.stat().st_size)
        except OSError:
            return  # no log yet: all of it will be new
        self._waiting[rank] = None

    def grew(self, rank: int, size: int) -> None:
        """Take note that a log has at least this many bytes now."""
        if rank in self._ranks and size > self._announced.get(rank, 0):
            self._announced[rank] = size
            if self._follower.offset(rank) < size:
                self._waiting[rank] = None

    def look_at(self, rank: int) -> None:
        """Read this log again, as it may have grown."""
        if rank in self._ranks:
            self._waiting[rank] = None

    def look_at_all(self) -> None:
        """Read every log again, as each may have grown."""
        self._waiting.update(dict.fromkeys(self._ranks))

    def look_again(self) -> None:
        """Read those again that did not have the bytes announced yet, as on a network file system."""
        for rank, size in self._announced.items():
            if self._follower.offset(rank) < size:
                self._waiting[rank] = None

    @property
    def is_behind(self) -> bool:
        """Say whether there is more to read than was read."""
        return bool(self) or any(self._follower.offset(rank) < size for rank, size in self._announced.items())

    def __bool__(self) -> bool:
        return bool(self._waiting or self._earlier)

    def next_lines(self) -> list[Line]:
        """Give the next lines of the rank whose turn it is; nothing when all has been read."""
        if lines := self._next_of_earlier():
            return lines
        while self._waiting:
            rank = next(iter(self._waiting))
            del self._waiting[rank]
            if lines := self._follower.read_new(rank):
                self._waiting[rank] = None  # at the end of the queue, so that a flood of one starves no other
                return lines
        return []

    def _next_of_earlier(self) -> list[Line]:
        while self._earlier:
            follower, unread = self._earlier[0]
            for rank in tuple(unread):
                if lines := follower.read_new(rank):
                    return lines
                del unread[rank]
                if lines := follower.finish(rank):
                    return lines
            del self._earlier[0]
        return []

    def skip(self, most: int, keep: int) -> list[tuple[int, int]]:
        """Where more than `most` bytes of a log wait, leave out all but the last `keep`; give (rank, left out)."""
        skipped = []
        for rank, size in self._announced.items():
            if size - self._follower.offset(rank) > most and (left_out := self._follower.skip(rank, keep)):
                self._waiting[rank] = None
                skipped.append((rank, left_out))
        return skipped

    def partial_lines(self) -> list[tuple[int, bytes]]:
        """Give what is there of lines that have no newline yet, by rank."""
        found = ((rank, self._follower.partial(rank)) for rank in self._ranks)
        return [(rank, data) for rank, data in found if data]

    def finish(self) -> list[Line]:
        """Give the last lines that never got their newlines."""
        return [line for rank in self._ranks for line in self._follower.finish(rank)]

    def drop(self) -> None:
        """Read nothing more of what waits now, as nobody is there to read it."""
        self._waiting.clear()
        self._earlier.clear()
