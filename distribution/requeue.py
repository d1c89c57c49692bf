"""Whether a run that ends goes back into its scheduler's queue; pure.

What the user has to change would fail again, and what a person has cancelled nobody wants.
"""

from __future__ import annotations

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import ExitStatus

from .causes import CauseClass
from .report import Report
from .state import State


@dataclass(frozen=True)
class Requeue:
    """That a run is to be queued again."""

    reason: str
    without: tuple[int, ...] = ()
    """The nodes that failed, which it shall not get again."""


def requeue_of(state: State, report: Report | None) -> Requeue | None:
    """Say whether a run of which no process is left should be queued again, where that is wanted at all."""
    if state.exit_status is ExitStatus.PREEMPTED:
        return Requeue(state.canceled or "preempted")
    cause = None if report is None else report.cause
    if report is None or cause is None or state.canceled is not None or state.late_wish is not None:
        return None
    if cause.kind is not CauseClass.INFRASTRUCTURE:
        return None
    # Somebody's SIGKILL says nothing against the node that it came to.
    node = None if state.cause is None or cause.signal is not None else state.cause.node
    return Requeue(report.message, () if node is None else (node,))
