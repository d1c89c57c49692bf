"""Processes that end well while others go on: they may be waited for in vain, or just have had less to do."""

from __future__ import annotations

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus

from ..actions import Say
from ..causes import CauseClass
from ..state import Cause, State
from .changes import Decision
from .stopping import stop
from .words import called


def watched(state: State, now: float) -> State:
    """Begin to count the seconds, once some of the processes that count have ended well and others have not."""
    some_are_done, some_go_on = _has(state, ProcessStatus.COMPLETED), _has(state, ProcessStatus.RUNNING)
    return replace(state, early_since=now) if state.early_since is None and some_are_done and some_go_on else state


def _has(state: State, status: ProcessStatus) -> bool:
    return state.has_process(lambda kind: kind.ends_run and kind.status is status)


def early_time_passed(state: State, now: float) -> Decision | None:
    """Say what is due by now about them, or fail the run; None where nothing is due."""
    fails_at, warns_at = state.early_failure_at, state.early_warning_at
    if fails_at is not None and now >= fails_at:
        limit = state.policy.early_exit.fail
        message = f"{_text(state)} after {limit:g} s (early_exit: fail)"
        cause = Cause(message, ExitStatus.JOB_FAILED, now, kind=CauseClass.USER_ERROR)
        return stop(replace(state, cause=state.cause or cause, early_since=None), now)
    if warns_at is not None and now >= warns_at:
        text = f"{_text(state)}; regiment.early_exit says how long that may be"
        return replace(state, early_told=True), (Say(text),) if _going_on(state) else ()
    return None


def _text(state: State) -> str:
    done, going_on = _done(state), len(_going_on(state))
    first = called(done[0], state.processes[done[0]])
    who = first if len(done) == 1 else f"{first} and {len(done) - 1} more"
    return f"{who} finished, {going_on} still running"


def _done(state: State) -> list[int]:
    return [r for r, p in enumerate(state.processes) if p.ends_run and p.status is ProcessStatus.COMPLETED]


def _going_on(state: State) -> list[int]:
    return [r for r, p in enumerate(state.processes) if p.ends_run and p.status is ProcessStatus.RUNNING]
