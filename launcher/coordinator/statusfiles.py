"""The `process_info.json` and `process_status.json` of a run and of each of its nodes.

A run may have thousands of nodes and ten thousands of processes, so a change costs what has changed: a process is
encoded anew when it has become another, a node's file is written when one of its processes has, or the run's status.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from regiment.distribution import history
from regiment.distribution.plan import Plan
from regiment.distribution.state import Phase, State
from regiment.jobs.files import private_folder, replace_pieces
from regiment.jobs.record import RunStatus
from regiment.jobs.rows import with_rows
from regiment.jobs.workspace import RunFolder, node_log_prefix

_SLICE = 0.05
"""Seconds of writing nodes' files after which the others wait for the next time: nobody waits for the coordinator."""


class StatusFiles:
    """Keeps the files of an attempt."""

    def __init__(self, folder: RunFolder, utc: Callable[[float], str]) -> None:
        self._folder = folder
        self._utc = utc
        self._plan: Plan | None = None
        self._state: State | None = None
        self._rows: list[str | None] = []
        """Each process as its files have it; None where that has to be encoded anew."""
        self._unplanned: dict[int, None] = {}
        """Nodes whose `process_info.json` is to be written, and in which order."""
        self._stale: dict[int, None] = {}
        """Nodes whose `process_status.json` is."""

    def planned(self, plan: Plan, state: State) -> None:
        """Take a new plan, and write who runs where."""
        self._plan, self._state = plan, state
        nodes = range(len(plan.nodes))
        self._rows = [None] * len(plan.processes)
        own = [index for index in nodes if self._prefix(plan, index)]
        self._unplanned, self._stale = dict.fromkeys(own), dict.fromkeys(own)
        logs = self._folder.attempt_logs(plan.attempt)
        replace_pieces(logs / "process_info.json", history.process_info(plan, nodes))
        self._write_nodes(self._unplanned, self._write_info, time.monotonic() + _SLICE)

    def write(self, state: State, *, whole: bool = False) -> bool:
        """Write what has changed, nodes' files as far as there is time unless `whole`; gives whether that was all."""
        plan = self._plan
        if plan is None:
            return True
        self._notice(state)
        logs = self._folder.attempt_logs(plan.attempt)
        replace_pieces(logs / "process_status.json", self._status(plan, state, range(len(state.processes))))
        until = float("inf") if whole else time.monotonic() + _SLICE
        self._write_nodes(self._unplanned, self._write_info, until)
        self._write_nodes(self._stale, self._write_status, until)
        return not self._unplanned and not self._stale

    def _notice(self, state: State) -> None:
        """Mark what is different from the state that was written last."""
        plan, old = self._plan, self._state
        assert plan is not None and old is not None
        blamed = {cause.rank for cause in (old.cause, state.cause) if cause is not None and cause.rank is not None}
        for rank in (*state.processes.differences(old.processes), *blamed):
            self._rows[rank] = None
            self._stale[state.processes[rank].node] = None
        if _status_word(state) != _status_word(old):
            self._stale = dict.fromkeys(range(len(plan.nodes)))
        if not self._prefix(plan, 0):
            self._stale.clear()  # The only node's files are the run's.
        self._state = state

    def _write_nodes(self, waiting: dict[int, None], write: Callable[[int], None], until: float) -> None:
        for index in tuple(waiting):
            if time.monotonic() > until:
                break
            write(index)
            del waiting[index]

    def _write_info(self, index: int) -> None:
        plan = self._plan
        assert plan is not None
        folder = private_folder(self._folder.attempt_logs(plan.attempt) / self._prefix(plan, index))
        replace_pieces(folder / "process_info.json", history.process_info(plan, range(index, index + 1)))

    def _write_status(self, index: int) -> None:
        plan, state = self._plan, self._state
        assert plan is not None and state is not None
        folder = self._folder.attempt_logs(plan.attempt) / self._prefix(plan, index)
        replace_pieces(folder / "process_status.json", self._status(plan, state, state.ranks_of(index)))

    def _prefix(self, plan: Plan, index: int) -> str:
        return node_log_prefix(plan.nodes[index].node.node_id, len(plan.nodes))

    def _status(self, plan: Plan, state: State, ranks: range) -> Iterator[str]:
        head = {
            "schema": 1,
            "runId": plan.run_id,
            "attempt": plan.attempt,
            "status": _status_word(state),
            "updatedUtc": self._utc(time.monotonic()),
        }
        return with_rows(head, {"processes": (self._row(plan, state, rank) for rank in ranks)})

    def _row(self, plan: Plan, state: State, rank: int) -> str:
        row = self._rows[rank]
        if row is None:
            row = self._rows[rank] = json.dumps(self._process(plan, state, rank))
        return row

    def _process(self, plan: Plan, state: State, rank: int) -> dict[str, Any]:
        process = state.processes[rank]
        row = history.process_row(plan, rank)
        log = row.pop("log")
        row.pop("taskType")
        return {
            **row,
            "pid": process.pid,
            "status": process.status.value,
            "exitCode": process.exit_code,
            "signal": process.signal,
            "startTimeUtc": self._time(process.started_at),
            "endTimeUtc": self._time(process.ended_at),
            "firstFailure": history.is_first_failure(state, rank),
            "log": log,
        }

    def _time(self, at: float | None) -> str | None:
        return None if at is None else self._utc(at)


def _status_word(state: State) -> str:
    # Between two attempts the file is the earlier one's, which has failed; the run goes on.
    return (RunStatus.FAILED if state.phase is Phase.BETWEEN else state.status).value
