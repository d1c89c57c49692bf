"""What Slurm's states of a job mean for a run whose own record doesn't say how it ended."""

from __future__ import annotations

from collections.abc import Mapping

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import ExitStatus
from regiment.jobs.status import RunStatus


@dataclass(frozen=True)
class Meaning:
    """What a state of Slurm's says about a run."""

    status: RunStatus | None
    """None where the run's own record knows better: its coordinator is at work."""
    words: str
    """What became of the job, after `Slurm's job 12`."""
    exit_status: ExitStatus | None = None
    """Where the job is over."""

    @property
    def is_over(self) -> bool:
        """Say whether no process of the job is left that could tell more."""
        return self.exit_status is not None


FORGOTTEN = Meaning(RunStatus.UNKNOWN, "is not known to Slurm (any more)", ExitStatus.NODE_ERROR)
"""Nobody knows what became of it, so never a success."""
_UNHEARD_OF = Meaning(RunStatus.UNKNOWN, "is in a state that Regiment does not know")
_CANCELED, _NODE = ExitStatus.CANCELED, ExitStatus.NODE_ERROR
STATES: Mapping[str, Meaning] = {
    "PENDING": Meaning(RunStatus.QUEUED, "waits in the queue"),
    "REQUEUED": Meaning(RunStatus.QUEUED, "is queued again"),
    "REQUEUE_FED": Meaning(RunStatus.QUEUED, "is queued again"),
    "REQUEUE_HOLD": Meaning(RunStatus.QUEUED, "is queued again and held"),
    "RESV_DEL_HOLD": Meaning(RunStatus.QUEUED, "is held, for its reservation was deleted"),
    "SPECIAL_EXIT": Meaning(RunStatus.QUEUED, "is queued again and held"),
    "CONFIGURING": Meaning(RunStatus.PROVISIONING, "has got nodes, which are being made ready"),
    "POWER_UP_NODE": Meaning(RunStatus.PROVISIONING, "has got nodes, which are being switched on"),
    "RUNNING": Meaning(None, "runs"),
    "RESIZING": Meaning(None, "runs, and its size is being changed"),
    "SIGNALING": Meaning(None, "runs, and is being signalled"),
    "EXPEDITING": Meaning(RunStatus.QUEUED, "waits in the queue"),
    "SUSPENDED": Meaning(RunStatus.PAUSED, "is suspended"),
    "STOPPED": Meaning(RunStatus.PAUSED, "is stopped, and keeps its nodes"),
    # The coordinator may be writing its last words right now.
    "COMPLETING": Meaning(None, "is ending"),
    "STAGE_OUT": Meaning(None, "is ending, and its files are being copied"),
    "UPDATE_DB": Meaning(None, "is ending"),
    # The coordinator wrote nothing about the run's end: exit status 0 of a script says nothing about its processes.
    "COMPLETED": Meaning(RunStatus.UNKNOWN, "has ended, and the run's record does not say how", _NODE),
    "FAILED": Meaning(RunStatus.FAILED, "failed", _NODE),
    "LAUNCH_FAILED": Meaning(RunStatus.FAILED, "could not be started on its nodes", _NODE),
    "RECONFIG_FAIL": Meaning(RunStatus.FAILED, "failed, for its nodes could not be made ready", _NODE),
    "BOOT_FAIL": Meaning(RunStatus.FAILED, "failed, for a node did not boot", _NODE),
    "NODE_FAIL": Meaning(RunStatus.FAILED, "failed, for it lost a node", _NODE),
    "OUT_OF_MEMORY": Meaning(RunStatus.FAILED, "failed, for its memory ran out", _NODE),
    "CANCELLED": Meaning(RunStatus.CANCELED, "was cancelled", _CANCELED),
    "REVOKED": Meaning(RunStatus.CANCELED, "was revoked, for it started on another cluster", _CANCELED),
    "DEADLINE": Meaning(RunStatus.CANCELED, "was ended at its deadline", _CANCELED),
    "TIMEOUT": Meaning(RunStatus.CANCELED, "was ended, for its time was up", _CANCELED),
    "PREEMPTED": Meaning(RunStatus.CANCELED, "was preempted", ExitStatus.PREEMPTED),
}


def meaning(state: str | None) -> Meaning:
    """Give what a state means, None being that of a job not known; `CANCELLED by 1000` of sacct's is CANCELLED."""
    return FORGOTTEN if state is None else STATES.get(state.partition(" ")[0].rstrip("+"), _UNHEARD_OF)
