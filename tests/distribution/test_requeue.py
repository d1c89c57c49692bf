"""Which runs go back into their scheduler's queue, and without which nodes."""

from __future__ import annotations

from typing import Any

import pytest

from regiment.distribution.causes import CauseClass
from regiment.distribution.report import FirstFailure, Report
from regiment.distribution.requeue import Requeue, requeue_of
from regiment.distribution.state import Cause, Policy, State, first_state
from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus


def ended(**fields: Any) -> State:
    """Give a run of two nodes that has ended, of what a process on node 1 or that node did unless it was cancelled."""
    cause = Cause("it failed", ExitStatus.NODE_ERROR, 1.0, node=1)
    return replace(first_state(Policy(), (2, 2), 0.0), **{"cause": cause, **fields})


def report(kind: CauseClass, signal: str | None = None) -> Report:
    """Give the report of it."""
    names = ("rank", "host", "pid", "exit_code", "exception", "memory", "core", "log")
    empty: dict[str, Any] = dict.fromkeys(names)
    cause = FirstFailure(
        kind=kind, node_id="node-1", signal=signal, shared_memory_full=False, details=(), tail=(), **empty
    )
    return Report("r", 0, "Failed", "node-1 was lost", cause, followed=())


def test_a_run_whose_node_failed_is_queued_again_without_it() -> None:
    assert requeue_of(ended(), report(CauseClass.INFRASTRUCTURE)) == Requeue("node-1 was lost", (1,))


def test_somebodys_sigkill_says_nothing_against_the_node() -> None:
    assert requeue_of(ended(), report(CauseClass.INFRASTRUCTURE, "SIGKILL")) == Requeue("node-1 was lost")


@pytest.mark.parametrize("kind", [CauseClass.USER_ERROR, CauseClass.OUT_OF_MEMORY, CauseClass.LAUNCHER])
def test_what_would_fail_again_is_not_queued_again(kind: CauseClass) -> None:
    assert requeue_of(ended(), report(kind)) is None


def test_a_preempted_run_is_queued_again_on_any_nodes() -> None:
    state = ended(cause=None, canceled="preempted: by Slurm", is_preempted=True)
    assert requeue_of(state, report(CauseClass.PREEMPTION)) == Requeue("preempted: by Slurm")


def test_what_a_person_has_cancelled_or_what_has_completed_is_not_queued_again() -> None:
    assert requeue_of(ended(canceled="cancelled by Ctrl-C"), report(CauseClass.INFRASTRUCTURE)) is None
    assert requeue_of(ended(late_wish="cancelled"), report(CauseClass.INFRASTRUCTURE)) is None
    assert requeue_of(ended(cause=None), None) is None
