"""Marks on a run's timeline: one local write, which the node's agent carries on."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from regiment.jobs.errors import UserError

_LONGEST = 200
"""Bytes of a name."""


def checked_mark(name: str) -> str:
    """Check that a mark's name is one line of text that is not too long."""
    if not name.strip() or not name.isprintable() or len(name.encode()) > _LONGEST:
        raise UserError(f"mark {name!r:.80}: expected a line of text of at most {_LONGEST} bytes, such as 'first step'")
    return name


def write_mark(environ: Mapping[str, str], run_id: str, name: str) -> None:
    """Tell the agent of this process's node where the program is, without waiting for anybody.

    Raises UserError where this process is none of that run's.
    """
    path = environ.get("REGIMENT_MARKS")
    if path is None or environ.get("REGIMENT_RUN_ID") != run_id:
        raise UserError(f"this process is none of run {run_id!r}; only its own mark where they are: Run.get_context()")
    line = f"{os.getsid(0)} {os.getpid()} mark {time.monotonic():.6f} - {name}\n"
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # The agent is gone, and all of us are about to be.
    try:
        os.write(pipe, line.encode())
    except BlockingIOError:
        pass  # It is full of others' marks; this one is not worth waiting for.
    finally:
        os.close(pipe)
