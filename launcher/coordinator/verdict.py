"""What is read for a verdict: the ends of logs, and exit codes the way a shell gives them."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

_TAIL_LINES = 20
_TAIL_BYTES = 64 * 1024
_LINE_LENGTH = 2000
_OF_TORCHRUN = re.compile(r"^(torch\.distributed\.elastic\.multiprocessing\.errors\.)?ChildFailedError:")
_NAME_OF_TORCHRUNS = b"ChildFailedError"
"""Looked for first: of a thousand logs hardly one has it, and there is a tenth of a second for all of them."""
_TRACEBACK = "Traceback (most recent call last):"


def last_lines(path: Path, count: int = _TAIL_LINES, size: int = _TAIL_BYTES) -> tuple[str, ...]:
    """Give the last lines of a log, reading only its end; lines are cut at 2,000 characters."""
    return _cut(_tail(path, size)[-count:])


def tail_of(path: Path, size: int = _TAIL_BYTES) -> tuple[str, ...]:
    """Give all lines in the last `size` bytes of a log; lines are cut at 2,000 characters."""
    return _cut(_tail(path, size))


def _cut(lines: list[str]) -> tuple[str, ...]:
    return tuple(line[:_LINE_LENGTH] for line in lines)


def _tail(path: Path, size: int) -> list[str]:
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            data = file.read(size)
    except OSError:
        return []
    # Open MPI ends some of its lines with zeros.
    lines = data.replace(b"\0", b"").rstrip().decode("utf-8", "backslashreplace").splitlines()
    return _without_torchruns_own(lines) if _NAME_OF_TORCHRUNS in data else lines


def _without_torchruns_own(lines: list[str]) -> list[str]:
    """Leave out what a torchrun that the user started says at its end: 30 lines without the reason, which is before."""
    if not any(map(_OF_TORCHRUN.match, lines)):
        return lines
    end = next(index for index, line in enumerate(lines) if _OF_TORCHRUN.match(line))
    start = max((index for index, line in enumerate(lines[:end]) if line == _TRACEBACK), default=end)
    return lines[:start] or lines


def shell_exit_code(exit_code: int | None, signal_name: str | None) -> int | None:
    """Give the exit code a shell would: 128 and the signal's number for a process that was killed."""
    if signal_name is None:
        return exit_code
    known = signal.Signals.__members__.get(signal_name)
    return 128 + (known or int(signal_name.rpartition(" ")[2]))
