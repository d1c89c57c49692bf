"""Waiting for a run's end, from any process that sees its folder."""

from __future__ import annotations

import math
import select
import time

from regiment.jobs.record import RunRecord
from regiment.jobs.workspace import RunFolder

from . import runs
from .liveness import connect, is_over
from .node import messages
from .node.channel import encode

_SOON, _LATER = 0.02, 0.5
"""Seconds between looks at a run that nobody can be asked about: at first, and in the long run."""


def wait_for_end(folder: RunFolder, deadline: float = math.inf) -> RunRecord:
    """Give a run once it has ended, or when the monotonic clock has reached `deadline`, as it is then."""
    pause = _SOON
    while True:
        record = runs.read_run(folder)
        left = deadline - time.monotonic()
        if is_over(record) and record.away is not None:
            from .ssh.bringing import bring_results

            return bring_results(folder)
        if is_over(record) or left <= 0:
            return record
        if not _wait_for_hang_up(record, deadline):
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, _LATER)


def _wait_for_hang_up(record: RunRecord, deadline: float) -> bool:
    """Wait until the run's coordinator hangs up, which it does at the end; False where there is none to be reached."""
    connection = connect(record)
    if connection is None:
        return False
    with connection:
        try:
            connection.sendall(encode(messages.pack(messages.Watch(messages.PROTOCOL))))
        except OSError:
            return False
        while select.select([connection], [], [], _time_to(deadline))[0]:
            try:
                if not connection.recv(1 << 16):
                    break
            except ConnectionResetError:
                break  # It ended before it had read what was asked.
    return True


def _time_to(deadline: float) -> float | None:
    """Give the seconds until then, as `select` takes them."""
    return None if deadline == math.inf else max(0.0, deadline - time.monotonic())
