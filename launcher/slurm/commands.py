"""Slurm's own commands, the only way we talk to it; their words are read in distribution/slurm/."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from regiment.distribution.slurm.queue import SACCT_FORMAT, SQUEUE_FORMAT, QueuedJob, fields_of, read_jobs
from regiment.jobs.errors import NodeError, UserError
from regiment.jobs.record import RunRecord

_LIMIT = 60.0
"""Seconds that a busy controller may take for an answer; Slurm's own commands give up at some point too."""
_OUT_OF_REACH = ("Unable to contact", "Socket timed out", "Connection refused", "Communication connection failure")
_KNOWS_NOT = ("Invalid job id", "accounting storage is disabled")
_ENDS = {"TimeLimit": "the time that Slurm gave its job was up"}
_SPEAKS_OTHERWISE = ("SQUEUE_", "SACCT_", "SLURM_TIME_FORMAT", "SBATCH_")
"""A user's own settings for how these commands ask and print."""


def sbatch(script: str) -> str:
    """Submit a script; gives the job's number.

    Raises:
        UserError: Slurm refuses it.
        NodeError: Slurm cannot be asked.
    """
    # What the user has set for sbatch is his; only its form of answer is ours. Of a job that this is in, the new one
    # must not take the size for its own.
    is_inside = "SLURM_JOB_ID" in os.environ
    environ = {name: value for name, value in os.environ.items() if not (is_inside and _is_of_job(name))}
    done = _run(("sbatch", "--parsable"), script, environ)
    if done.returncode:
        raise UserError(
            f"Slurm refuses the job: {_last_words(done.stderr)}; correct regiment.slurm in the job file, or the "
            "compute target ('regiment compute show')"
        )
    return done.stdout.strip().rpartition("\n")[2].partition(";")[0]


def _is_of_job(name: str) -> bool:
    return name.startswith(("SLURM_", "SLURMD_")) and name not in ("SLURM_CONF", "SLURM_CLUSTERS")


def my_jobs() -> dict[str, QueuedJob]:
    """Give this user's jobs that Slurm has not forgotten yet, by their numbers."""
    argv = ("squeue", "--noheader", "--states=all", f"--user={os.getuid()}", f"--format={SQUEUE_FORMAT}")
    return read_jobs(_asked(argv))


def find_job(job_id: str) -> QueuedJob | None:
    """Give a job; None where neither the controller nor the accounts know it (any more)."""
    squeue = ("squeue", "--noheader", "--states=all", f"--jobs={job_id}", f"--format={SQUEUE_FORMAT}")
    sacct = ("sacct", "--noheader", "--parsable2", "--delimiter=|", "--allocations", f"--jobs={job_id}")
    found = read_jobs(_asked(squeue)).get(job_id)
    return found or read_jobs(_asked((*sacct, f"--format={SACCT_FORMAT}"))).get(job_id)


def node_address(name: str) -> str:
    """Give the name or address by which a node's peers reach it."""
    try:
        return fields_of(_run(("scontrol", "show", "node", "--oneliner", name)).stdout).get("NodeAddr", name)
    except NodeError:
        return name  # A container may have none of Slurm's commands; most clusters resolve their nodes' names.


def why_it_ends(job_id: str, starts: int) -> tuple[str, bool]:
    """Say why Slurm ends a job that has been started so often before, and whether it will start it again."""
    try:
        job = fields_of(_run(("scontrol", "show", "job", "--oneliner", job_id)).stdout)
    except NodeError:
        job = {}
    if job.get("Restarts", "").isdecimal() and int(job["Restarts"]) > starts:
        return "Slurm has queued its job again", True
    return _ENDS.get(job.get("Reason", ""), "Slurm has ended its job, as scancel does"), False


def requeue(job_id: str, starts: int, without: Sequence[str]) -> None:
    """Have a job of ours that runs ended and queued again, without some of its nodes.

    Slurm tells all of its processes to end meanwhile, this one too, and lets it start again when none of them is left.

    Raises:
        NodeError: It stays as it is.
    """
    done = _run(("scontrol", "requeue", job_id))
    job = fields_of(_run(("scontrol", "show", "job", "--oneliner", job_id)).stdout)
    if done.returncode and int(job.get("Restarts", 0)) <= starts:
        raise NodeError(f"Slurm does not queue job {job_id} again: {_last_words(done.stderr)}")
    if without:
        known = job.get("ExcNodeList", "(null)")
        names = ",".join((*(() if known == "(null)" else (known,)), *without))
        # Only a job that is queued may be changed so, and it is not started before this one has ended.
        _run(("scontrol", "update", f"jobid={job_id}", f"excnodelist={names}"))


def scancel(job_id: str, *flags: str) -> None:
    """End a job; one that has ended is as good."""
    done = _run(("scancel", "--quiet", *flags, job_id))
    if done.returncode and "Invalid job id" not in done.stderr:
        raise NodeError(f"Slurm does not cancel job {job_id}: {_last_words(done.stderr)}; try 'scancel {job_id}'")


def leave_queue(record: RunRecord) -> None:
    """Take the job of a run that nobody wants any more out of the queue; where a coordinator has it, that does it."""
    # Somebody else's job may do other things, too.
    if record.scheduler is not None and record.scheduler.kind == "slurm" and record.coordinator is None:
        scancel(record.scheduler.job_id)


def _asked(argv: Sequence[str]) -> str:
    """Give what a command prints; nothing where Slurm does not know such jobs, or keeps no accounts."""
    done = _run(argv)
    if done.returncode and not any(words in done.stderr for words in _KNOWS_NOT):
        raise NodeError(f"Slurm does not answer {argv[0]}: {_last_words(done.stderr)}; try again later")
    return "" if done.returncode else done.stdout


def _run(
    argv: Sequence[str], stdin: str = "", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    if environ is None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_SPEAKS_OTHERWISE)}
    try:
        done = subprocess.run(
            # Slurm signals all of a task's group when it ends a job.
            argv,
            input=stdin,
            env=environ,
            text=True,
            capture_output=True,
            timeout=_LIMIT,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise NodeError(
            f"there is no {argv[0]} on this machine; go to a login node of the cluster, or put Slurm's commands in PATH"
        ) from None
    except subprocess.TimeoutExpired:
        raise NodeError(
            f"Slurm has not answered {argv[0]} for {_LIMIT:g} s; try again, 'scontrol ping' says more"
        ) from None
    if done.returncode and any(words in done.stderr for words in _OUT_OF_REACH):
        raise NodeError(f"Slurm's controller does not answer {argv[0]}: {_last_words(done.stderr)}; try again later")
    return done


def _last_words(text: str) -> str:
    """Give what an error says, without the command's name before each line."""
    lines = [line.partition("error: ")[2] or line for line in text.splitlines() if line.strip()]
    return "; ".join(lines)[-500:] or "no reason given"
