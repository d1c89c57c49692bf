"""What `squeue` and `sacct` print about jobs, and how a wait in the queue is told to people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from regiment.jobs.dataclass import dataclass

from .hosts import host_names

SQUEUE_FORMAT = "%i|%T|%S|%N|%r"
"""The format for squeue; a reason may hold anything, and is last."""
SACCT_FORMAT = "JobIDRaw,State,Start,NodeList,Reason"
"""The same for sacct, which is asked about jobs that squeue doesn't know any more."""
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2})(?::\d{2})?", re.ASCII)
_FIELD = re.compile(r"(?:^|\s)([A-Za-z/:]+)=(\S*)")
_NOTHING = frozenset({"", "N/A", "None", "none", "(null)", "Unknown", "None assigned"})
_ADVICE: Mapping[str, str] = {
    "JobHeldUser": "it is held; 'scontrol release {job}' lets it go",
    "JobHeldAdmin": "an administrator holds it",
    "DependencyNeverSatisfied": "what it waits for has failed; cancel it",
    "PartitionTimeLimit": "it asks for more time than the partition gives; cancel it, and ask for less with time",
    "PartitionNodeLimit": "it asks for more nodes than the partition gives; cancel it, and ask for fewer",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition is inactive",
    "BadConstraints": "no node is as it asks for; cancel it, and ask for something else",
    "InvalidAccount": "its account is not valid; cancel it, and give another",
    "InvalidQOS": "its qos is not valid; cancel it, and give another",
}
"""What a person may want to know about reasons that time alone will not change."""


@dataclass(frozen=True)
class QueuedJob:
    """A job as Slurm tells of it."""

    job_id: str
    state: str
    starts_at: str | None = None
    """When Slurm expects it to start, in its own time zone: `2026-11-29T14:20:00`."""
    nodes: tuple[str, ...] = ()
    reason: str | None = None
    """Why it waits."""


def read_jobs(text: str) -> dict[str, QueuedJob]:
    """Read what squeue or sacct print in these formats, by the jobs' numbers; lines of another form are left out."""
    return {job.job_id: job for job in _jobs(text)}


def _jobs(text: str) -> Iterator[QueuedJob]:
    for line in text.splitlines():
        words = line.split("|", 4)
        if len(words) != 5 or not words[0].isdecimal():
            continue
        job_id, state, starts_at, nodes, reason = (word.strip() for word in words)
        yield QueuedJob(
            job_id,
            state,
            None if starts_at in _NOTHING else starts_at,
            () if nodes in _NOTHING else host_names(nodes),
            None if reason in _NOTHING else reason,
        )


def fields_of(text: str) -> Mapping[str, str]:
    """Read what `scontrol show --oneliner` prints of one thing; of values with blanks in them the first word."""
    return dict(found.groups() for found in _FIELD.finditer(text))  # type: ignore[misc]


def waiting_text(job: QueuedJob, today: str) -> str:
    """Say why a job waits and until when: `Priority, starts about 14:20`. `today` is a date such as 2026-11-29."""
    reason = (job.reason or "just submitted").partition(",")[0]
    found = _TIME.fullmatch(job.starts_at or "")
    when = "" if not found else f", starts about {found[2] if found[1] == today else f'{found[1]} {found[2]}'}"
    advice = _ADVICE.get(reason)
    return f"{reason}{when}" + (f": {advice.format(job=job.job_id)}" if advice else "")
