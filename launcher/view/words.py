"""How the views say things: names of processes, exits, counts, sizes and durations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from regiment.jobs.words import counted

from .escape import printable
from .model import ProcessView


def label(process: ProcessView) -> str:
    """Name a process as its log lines are prefixed: `node-0 rank 1`."""
    return f"{printable(process.node_id)} rank {process.rank}"


def how_it_ended(process: ProcessView) -> str:
    """Say with what a process ended; empty while it has not."""
    if process.signal is not None:
        return printable(process.signal)
    return "" if process.exit_code is None else f"exit code {process.exit_code}"


def by_status(processes: Iterable[ProcessView]) -> str:
    """Count processes by status: `7 running, 1 failed`."""
    counts = Counter(process.status for process in processes)
    return ", ".join(f"{count} {lowered(status)}" for status, count in counts.most_common())


def lowered(status: str) -> str:
    """Give a status of the record as words of a sentence: `NotStarted` is `not started`."""
    return printable("".join(f" {char.lower()}" if char.isupper() else char for char in status).strip())


def clock(seconds: float) -> str:
    """Give a duration as `0:07`, `12:34`, `1:02:03` or `2d 01:02:03`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def duration(seconds: float) -> str:
    """Give a duration to its tenth of a second where that tells something, else as `clock` does."""
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def size(number: int) -> str:
    """Give a number of bytes as `17 bytes`, `1.5 kB` or `12.3 MB`."""
    if number < 1000:
        return counted(number, "byte")
    return f"{number / 1000:.1f} kB" if number < 1_000_000 else f"{number / 1_000_000:.1f} MB"
