"""Finds out why a run did not complete: reads the end of the log that counts, and of others as time allows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from regiment.distribution import blame
from regiment.distribution.circumstances import Circumstances
from regiment.distribution.lastwords import last_exception
from regiment.distribution.plan import Plan
from regiment.distribution.report import LastWords, Report, make_report
from regiment.distribution.state import State
from regiment.jobs.workspace import RunFolder, node_log_prefix

from .verdict import last_lines, tail_of

_TIME = 0.06
"""Seconds for reading the last words of those that might be to blame; the earliest to end are read first. With the
report that follows it all takes a tenth of a second: nothing is stopped later for it."""
_SUSPECTS_BYTES = 8 * 1024
"""Bytes read of each of their logs."""
_MOST_LINES = 500
"""Lines of mpirun's log in which errors of ranks are looked for."""
_SHOWN = 20
"""Lines of a log that the verdict shows."""


def investigate(
    folder: RunFolder, plan: Plan, state: State, circumstances: Mapping[int, Circumstances]
) -> tuple[State, Report | None]:
    """Give the state with the blame where the logs put it, and the report; none for a run that completed."""
    state = blame.reconsidered(state, _last_words(folder, plan, state))
    if state.cause is None:
        return state, make_report(state, plan, LastWords(), Circumstances())
    log = _log_of_cause(plan, state)
    rank = state.cause.rank
    seen = circumstances.get(rank, Circumstances()) if rank is not None else Circumstances()
    return state, make_report(state, plan, _words(folder.root, log, state), seen)


def _words(root: Path, log: str | None, state: State) -> LastWords:
    cause = state.cause
    # Of what was killed or lost the log has only earlier words than its end.
    if log is None or cause is None or (cause.rank is None and not cause.is_report):
        return LastWords(log)
    lines = tail_of(root / log)
    return LastWords(log, lines[-_SHOWN:], last_exception(lines))


def _last_words(folder: RunFolder, plan: Plan, state: State) -> dict[int, tuple[str, ...]]:
    """Give the last lines of those that might be to blame, by rank."""
    ranks = sorted(blame.suspects(state), key=lambda rank: state.processes[rank].ended_at or 0.0)
    if not ranks:
        return {}
    launcher = plan.nodes[0].launcher
    log = f"azureml-logs/{launcher.log}" if launcher is not None and launcher.log else None
    through = blame.said_through_mpirun(last_lines(folder.root / log, _MOST_LINES) if log else ())
    unsaid = blame.unsaid_under_srun(state) if launcher is not None and launcher.is_srun else {}
    found: dict[int, tuple[str, ...]] = {}
    deadline = time.monotonic() + _TIME
    for rank in ranks:
        if time.monotonic() > deadline:
            break
        own = last_lines(folder.root / _log_of(plan, rank), _SHOWN, _SUSPECTS_BYTES)
        found[rank] = unsaid.get(rank, ()) + own + through.get(rank, ())
    return found


def _log_of(plan: Plan, rank: int) -> str:
    return f"azureml-logs/{plan.processes[rank].log}"


def _log_of_cause(plan: Plan, state: State) -> str | None:
    cause = state.cause
    if cause is None or cause.node is None:
        return None
    if cause.rank is not None:
        return _log_of(plan, cause.rank)
    launcher = plan.nodes[cause.node].launcher
    if launcher is not None and launcher.log is not None:
        return f"azureml-logs/{launcher.log}"
    node_id = f"node-{cause.node}"
    return f"azureml-logs/{node_log_prefix(node_id, len(plan.nodes))}55_azureml-execution-{node_id}.txt"
