"""Printing what a run's first process prints, in the form that Azure ML streams it."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from regiment.jobs.plain import to_plain

from .ledger import Found

_DRIVER_LOG = re.compile(r"70_driver_log(_\d+)?\.txt")
_TURN = 0.1
"""Seconds between two looks at the log."""
_PIECE = 1 << 20
"""Bytes that are read at a time."""
_INTERRUPTED = (
    "\nThe output streaming for the run interrupted.\n"
    "But the run is still executing on the compute target. 'regiment cancel {run_id}' stops it, "
    "'regiment logs -f {run_id}' goes on with its output.\n"
)


def stream(run_id: str, url: str, look: Callable[[float], Found], out: TextIO | None = None) -> None:
    """Print until the run has ended; `look` gives the run after that many seconds, or as soon as it has ended.

    Ctrl-C ends the printing, is told, and goes on as KeyboardInterrupt; the run does not notice.
    """
    out = sys.stdout if out is None else out
    out.write(f"RunId: {run_id}\nWeb View: {url}\n")
    out.flush()
    try:
        found = _follow(look, out)
    except KeyboardInterrupt:
        out.write(_INTERRUPTED.format(run_id=run_id))
        out.flush()
        raise
    _summarize(found, url, out)


def _follow(look: Callable[[float], Found], out: TextIO) -> Found:
    follower: _Follower | None = None
    while True:
        found = look(_TURN)
        if follower is None:
            path = _first_log(found.folder)
            follower = None if path is None else _Follower(path, found.folder, out)
        if follower is not None:
            follower.print_more(last=found.record.is_over)
        if found.record.is_over:
            return found


def _first_log(folder: Path) -> Path | None:
    """Give the log of rank 0, once there is something in it: a run's other processes are not streamed."""
    top = folder / "azureml-logs"
    logs = [path for path in sorted(top.rglob("70_driver_log*.txt")) if _DRIVER_LOG.fullmatch(path.name)]
    first = [path for path in logs if path.name in ("70_driver_log.txt", "70_driver_log_0.txt")]
    return next((path for path in first if path.stat().st_size), None)


class _Follower:
    """One log, and how much of it has been printed."""

    def __init__(self, path: Path, folder: Path, out: TextIO) -> None:
        self._path = path
        self._out = out
        self._size = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        # By the name that logs have, and not that of the attempt they lie in.
        name = f"azureml-logs/{path.relative_to(folder / 'azureml-logs')}"
        out.write(f"\nStreaming {name}\n{'=' * (len(name) + 10)}\n\n")

    def print_more(self, *, last: bool) -> None:
        """Print what is new; `last` says that nothing more will come."""
        with self._path.open("rb") as file:
            file.seek(self._size)
            while data := file.read(_PIECE):
                self._size += len(data)
                self._out.write(self._decoder.decode(data))
        if last:
            self._out.write(self._decoder.decode(b"", final=True))
        self._out.flush()


def _summarize(found: Found, url: str, out: TextIO) -> None:
    record = found.record
    out.write(f"\nExecution Summary\n=================\nRunId: {record.run_id}\nWeb View: {url}\n")
    if record.warnings:
        out.write("\nWarnings:\n" + "".join(f"{text}\n" for text in record.warnings))
    if record.error is not None:
        out.write(f"\nError:\n{json.dumps(to_plain(record.error), indent=4)}\n")
    out.write("\n")
    out.flush()
