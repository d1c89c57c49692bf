"""The timelines of a run's attempts, read from its folder."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from regiment.distribution.timeline import Timeline, make_timelines
from regiment.jobs.errors import UserError
from regiment.jobs.journal import read_journal
from regiment.jobs.ledger_file import read_ledger
from regiment.jobs.record import RunRecord, RunType
from regiment.jobs.workspace import RunFolder


def timelines(folder: RunFolder, record: RunRecord) -> list[Timeline]:
    """Give the timeline of each attempt; raises UserError where there is none."""
    if record.type is RunType.INTERACTIVE:
        raise UserError(
            f"run {record.run_id} has no timeline: Python code keeps it, and it has no processes that were started"
        )
    try:
        events = list(read_journal(folder.events))
        began = _seconds(events[0]["timeUtc"]) - float(events[0]["at"]) if events else 0.0
        found = make_timelines(
            events,
            lambda attempt: read_ledger(folder.ledger(attempt)),
            max(0.0, began - _seconds(record.created_utc)),
            None if record.status.is_terminal else time.time() - began,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder.events} is damaged ({error!r}) and gives no timeline; the logs are there") from None
    if not found:
        raise UserError(f"run {record.run_id} has no timeline: {folder.events} does not tell of a start")
    return found


def _seconds(utc: str) -> float:
    """Give the Unix time of a record's time."""
    return datetime.fromisoformat(utc.removesuffix("Z")).replace(tzinfo=timezone.utc).timestamp()
