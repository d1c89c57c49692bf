"""A run of Slurm's as it is true now: what its record says, and what Slurm says where that is not the end yet."""

from __future__ import annotations

import time

from regiment.distribution.slurm.queue import QueuedJob
from regiment.distribution.slurm.states import meaning
from regiment.jobs.dataclass import replace
from regiment.jobs.errors import NodeError
from regiment.jobs.record import RunError, RunRecord, RunStatus

from . import commands

_FRESH = 2.0
"""Seconds for which an answer of Slurm's is as good as new: its controller serves everybody."""


class _Answers:
    """What Slurm has said a moment ago."""

    def __init__(self) -> None:
        self._mine: dict[str, QueuedJob] = {}
        self._others: dict[str, QueuedJob | None] = {}
        self._asked_at = -_FRESH

    def job(self, job_id: str) -> QueuedJob | None:
        """Give a job, most of which one question answers for all of this user's runs."""
        now = time.monotonic()
        if now - self._asked_at >= _FRESH:
            self._mine, self._others, self._asked_at = commands.my_jobs(), {}, now
        if job_id in self._mine:
            return self._mine[job_id]
        if job_id not in self._others:
            self._others[job_id] = commands.find_job(job_id)
        return self._others[job_id]


_answers = _Answers()


def as_slurm_says(record: RunRecord) -> RunRecord:
    """Give the record of a run that has not ended as far as it says itself."""
    assert record.scheduler is not None
    try:
        job = _answers.job(record.scheduler.job_id)
    except NodeError:
        return record  # Nobody can be asked here; what the record says was true when it was written.
    return told(record, record.scheduler.job_id, job)


def told(record: RunRecord, job_id: str, job: QueuedJob | None) -> RunRecord:
    """Give the record with what Slurm says of the job; None for one that it does not know."""
    found = meaning(job.state if job else None)
    if found.status is None:
        is_new = record.status in (RunStatus.QUEUED, RunStatus.PROVISIONING)
        return replace(record, status=RunStatus.STARTING) if is_new else record
    error = RunError(
        f"Slurm's job {job_id} {found.words}, with no word of the run's coordinator; its log may say more",
        log="logs/azureml/slurm.log",
    )
    if found.status is RunStatus.UNKNOWN or found.is_over:
        status = None if found.exit_status is None else int(found.exit_status)
        return replace(record, status=found.status, error=error, exit_status=status)
    return replace(record, status=found.status)
