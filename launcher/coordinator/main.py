"""The coordinator's process: takes an order, sees the run through, and never goes without a word."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
from pathlib import Path

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus
from regiment.jobs.plain import from_plain
from regiment.jobs.record import RunError, RunStatus, read_record, utc_text, write_record
from regiment.jobs.workspace import RunFolder, Workspace

from .coordinator import Coordinator
from .order import LOCK, Order


def main() -> None:
    """Take an order from standard input, a socket to whoever wants the run, and see it through."""
    # Whatever else the submitting shell had open is not ours to hold: a pipe's reader would wait for the run's end.
    os.closerange(LOCK + 1, os.sysconf("SC_OPEN_MAX"))
    os.set_inheritable(LOCK, False)
    owner = socket.socket(fileno=os.dup(0))
    order = from_plain(Order, json.loads(_read_line(owner)))
    folder = Workspace(Path(order.workspace)).run(order.run_id)
    try:
        Coordinator(order, folder, owner).run()
    except Exception:  # noqa: BLE001  (whatever it was, the record has to say that the run is over)
        traceback.print_exc()
        _record_own_fault(folder)
        sys.exit(int(ExitStatus.INTERNAL_ERROR))


def _read_line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part:
            sys.exit(int(ExitStatus.INTERNAL_ERROR))
        data += part
    return data


def _record_own_fault(folder: RunFolder) -> None:
    """Mark the run failed by us; its agents notice our end and stop what runs."""
    log = folder.own_logs / "coordinator.log"
    error = RunError(
        f"Regiment's coordinator failed; {log} says how. Please report it.", log="logs/azureml/coordinator.log"
    )
    record = replace(
        read_record(folder.record),
        status=RunStatus.FAILED,
        error=error,
        exit_status=int(ExitStatus.INTERNAL_ERROR),
        end_time_utc=utc_text(time.time()),
    )
    write_record(folder.record, record)
