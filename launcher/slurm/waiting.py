"""Waits with a person for a job's turn in Slurm's queue, and says what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable

from regiment.distribution.slurm.queue import QueuedJob, waiting_text
from regiment.distribution.slurm.states import meaning
from regiment.jobs.record import RunStatus
from regiment.jobs.workspace import RunFolder

from ..liveness import is_over
from ..runs import read_run
from . import commands

_LOOK = 0.1
"""Seconds between two looks at the run's folder."""
_FIRST, _LONGEST = 1.0, 15.0
"""Seconds between two questions to Slurm, which serves everybody; each time longer, as waits often are."""


def wait_in_queue(folder: RunFolder, job_id: str, say: Callable[[str], None], is_left: Callable[[], bool]) -> None:
    """Wait until the run's coordinator is there, the run is over, or the person has left."""
    said, pause, ask_at = None, _FIRST, 0.0
    while not folder.events.exists() and not is_left():
        now = time.monotonic()
        if now >= ask_at:
            if is_over(read_run(folder)):
                return
            job = commands.find_job(job_id)
            text = _told(job) if job else None
            if text and text != said:
                said, pause = text, _FIRST
                say(text)
            ask_at, pause = now + pause, min(pause * 1.5, _LONGEST)
        time.sleep(_LOOK)


def _told(job: QueuedJob) -> str:
    if meaning(job.state).status is RunStatus.QUEUED:
        return f"Slurm's job {job.job_id} waits: {waiting_text(job, time.strftime('%Y-%m-%d'))}"
    return f"Slurm's job {job.job_id} {meaning(job.state).words} on {', '.join(job.nodes[:8]) or 'no node yet'}"
