"""Where a run is in its life, and which way it may go from there."""

from __future__ import annotations

from enum import Enum

from .errors import UserError


class RunStatus(Enum):
    """Where a run is in its life; names and meaning are Azure ML's (`JobStatus` of azure-ai-ml)."""

    NOT_STARTED = "NotStarted"
    """Its folder exists; no coordinator has taken it up yet."""
    QUEUED = "Queued"
    """It waits for its compute target."""
    PROVISIONING = "Provisioning"
    """Its compute target is being made."""
    STARTING = "Starting"
    """The agents are being started on the nodes, or another attempt is about to begin."""
    PREPARING = "Preparing"
    """The nodes copy the code."""
    RUNNING = "Running"
    """Its processes run; of a run that Python code keeps: it has been started."""
    PAUSED = "Paused"
    """It was suspended, and can go on."""
    NOT_RESPONDING = "NotResponding"
    """Nothing has been heard of it for too long; it may come back to any status."""
    FINALIZING = "Finalizing"
    """Its processes have ended or are being ended because one failed; outputs are collected."""
    CANCEL_REQUESTED = "CancelRequested"
    """Somebody asked for its end, and its processes are being stopped."""
    COMPLETED = "Completed"
    """Every process that counts reported exit code 0; of a run that Python code keeps: that code said so."""
    FAILED = "Failed"
    """A process, a node or Regiment itself failed, or somebody who saw its results called it a failure."""
    CANCELED = "Canceled"
    """It was stopped on request or because its time was up."""
    UNKNOWN = "Unknown"
    """Whoever should know does not; never taken for a success."""

    @property
    def is_terminal(self) -> bool:
        """Say whether nothing more will happen."""
        return self in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED)


_ENDS = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED})
_ANY = frozenset(RunStatus)
_ASIDE = frozenset({RunStatus.PAUSED, RunStatus.NOT_RESPONDING, RunStatus.UNKNOWN})
_CLOSING = frozenset({RunStatus.CANCEL_REQUESTED, RunStatus.FINALIZING}) | _ENDS | _ASIDE
_AT_WORK = frozenset({RunStatus.STARTING, RunStatus.PREPARING, RunStatus.RUNNING}) | _CLOSING
_WAITING = frozenset({RunStatus.QUEUED, RunStatus.PROVISIONING}) | _AT_WORK
_LEGAL: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.NOT_STARTED: _WAITING,
    RunStatus.QUEUED: _WAITING,
    RunStatus.PROVISIONING: _WAITING,
    RunStatus.STARTING: _WAITING,
    RunStatus.PREPARING: _WAITING,
    # A restart goes through the same steps again.
    RunStatus.RUNNING: _WAITING,
    RunStatus.PAUSED: _WAITING,
    RunStatus.NOT_RESPONDING: _ANY,
    RunStatus.UNKNOWN: _ANY,
    RunStatus.FINALIZING: _WAITING,
    RunStatus.CANCEL_REQUESTED: frozenset({RunStatus.FINALIZING}) | _ENDS | _ASIDE,
    # Who looks at the results of a run that ended well may find them to be none.
    RunStatus.COMPLETED: frozenset({RunStatus.FAILED}),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELED: frozenset(),
}
"""Where a run may go from each status; "NotResponding is the only state that is exempt from strict transition orders"
(azureml-core), and we add Unknown, which says as little."""


def check_transition(run_id: str, old: RunStatus, new: RunStatus) -> None:
    """See that a run may change its status so; raises UserError."""
    if new is not old and new not in _LEGAL[old]:
        raise UserError(
            f"run {run_id} is {old.value} and cannot become {new.value}; 'regiment show {run_id}' says more"
        )
