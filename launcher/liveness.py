"""Who keeps a run, and whether he still lives: readers never trust a record whose writer is dead."""

from __future__ import annotations

import os
import select
import socket

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import Owner, RunError, RunRecord, RunStatus

from .node import processes


def is_dead(owner: Owner) -> bool:
    """Say whether a process is certainly gone; one on another machine never is, as seen from here."""
    if owner.boot_id != processes.boot_id():
        # Another boot of this very machine has ended all its processes; another machine we cannot ask.
        return owner.host == socket.gethostname()
    return processes.start_ticks(owner.pid) != owner.start_ticks or processes.is_zombie(owner.pid)


def wait_for_death(owner: Owner, seconds: float) -> None:
    """Wait for a process of this machine that is just ending; its files are closed a moment before it is dead."""
    try:
        pidfd = os.pidfd_open(owner.pid)
    except OSError:
        return
    try:
        select.select([pidfd], [], [], seconds)
    finally:
        os.close(pidfd)


def keeper_of(record: RunRecord) -> Owner | None:
    """Give the process whose death ends the run: its coordinator, or the one whose code keeps it."""
    if record.owner is not None:
        return record.owner
    return None if record.coordinator is None or record.away is not None else record.coordinator.owner


def as_it_is(record: RunRecord) -> RunRecord:
    """Give the record as it is true now: a run whose keeper died without a word on how it ended has failed."""
    if record.status.is_terminal or record.away is not None:
        return record  # One that is away is as it was heard of last; ssh/bringing.py hears more.
    if record.owner is not None and is_dead(record.owner):
        who = f"process {record.owner.pid} on {record.owner.host}"
        return _failed(record, RunError(f"{who}, which kept the run, ended without completing it"))
    if record.scheduler is not None:
        from .slurm.truth import as_slurm_says

        return as_slurm_says(record)
    if record.coordinator is None or not is_dead(record.coordinator.owner):
        return record
    owner = f"process {record.coordinator.pid} on {record.coordinator.host}"
    message = f"coordinator lost: {owner} ended without a verdict"
    if record.status is RunStatus.NOT_STARTED:
        message = f"never started: {owner} ended while it was submitting the run"
    return _failed(record, RunError(message, log="logs/azureml/coordinator.log"))


def is_over(record: RunRecord) -> bool:
    """Say whether a run has ended, or nobody is left who could tell how."""
    return record.is_over


def _failed(record: RunRecord, error: RunError) -> RunRecord:
    return replace(record, status=RunStatus.FAILED, error=error, exit_status=int(ExitStatus.NODE_ERROR))


def connect(record: RunRecord) -> socket.socket | None:
    """Connect to a run's coordinator; None where it has gone or has not come yet."""
    if record.coordinator is None or record.coordinator.socket is None or record.away is not None:
        return None
    if record.coordinator.boot_id != processes.boot_id():
        return None  # It is on another machine, or was before this one was started.
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(record.coordinator.socket)
    except OSError:
        connection.close()
        return None
    return connection
