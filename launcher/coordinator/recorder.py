"""Writes what happens into the run folder: its events, `run.json`, `plan.json` and the status files."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from regiment.distribution import history
from regiment.distribution.plan import Plan
from regiment.distribution.planner import plan_pieces
from regiment.distribution.report import Report, markdown
from regiment.distribution.state import State
from regiment.jobs.changes import changing
from regiment.jobs.dataclass import replace
from regiment.jobs.edits import Edit, Finish, apply_edit
from regiment.jobs.files import replace_file, replace_json, replace_pieces
from regiment.jobs.ledger import LedgerRow
from regiment.jobs.plain import to_plain
from regiment.jobs.record import NodeRecord, RunRecord, RunStatus, write_record
from regiment.jobs.workspace import RunFolder

from ..node.loop import Loop
from .eventlog import EventLog, error_of
from .statusfiles import StatusFiles

if TYPE_CHECKING:
    from regiment.jobs.ledger_file import LedgerWriter

_REWRITE_INTERVAL = 0.2
"""Seconds between two rewrites of the status files."""
_LONG_PLAN = 1024
"""Processes of a plan that is not written at once."""
_PROCESS = 25e-6
"""Seconds that it takes to write one of its processes, roughly."""
_SHARE = 19
"""How many times as long as a rewrite took it is to the next at least: a twentieth of the time goes there at most.
The first time that a long plan is written is put off by as much."""


class Recorder:
    """The one writer of a run's record while its coordinator lives."""

    def __init__(self, loop: Loop, folder: RunFolder, record: RunRecord) -> None:
        self._loop = loop
        self._folder = folder
        self.record = record
        self.log = EventLog(loop, folder, self._complain, is_again=record.attempt > 0)
        self._known: dict[int, dict[str, Any]] = {}
        """What has become known of nodes since the record was written."""
        self._told: set[str | None] = set()
        self._files = StatusFiles(folder, self.log.utc)
        self._state: State | None = None
        self._unwritten_plan: Plan | None = None
        self._is_said = False
        """Whether the status is what somebody has said, from now on, and not what the state is."""
        self._ledger: LedgerWriter | None = None
        self._due = False
        self._due_at = 0.0

    def event(self, happening: history.Happening) -> None:
        """Take down an event, and tell the viewers."""
        self.log.add(happening)

    def measured(self, row: LedgerRow) -> None:
        """Take down what a node has measured of the start."""
        if self._ledger is None:
            from regiment.jobs.ledger_file import LedgerWriter  # Of most starts nobody measures anything.

            self._ledger = LedgerWriter(self._folder)
        ledger = self._ledger
        self._attempt(lambda: ledger.append(self.record.attempt, row))

    def _attempt(self, write: Callable[[], None]) -> None:
        """Write, but never let a full or broken disk end a run that goes well: say so once and go on."""
        error = error_of(write)
        if error is not None:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if error.strerror not in self._told:
            self._told.add(error.strerror)
            self.note("warning", f"the run's record cannot be written ({error}); the run goes on without it")

    def node(self, index: int, **known: Any) -> None:
        """Take down what has become known of a node: fields of its NodeRecord."""
        self._known.setdefault(index, {}).update(known)

    def note(self, level: str, text: str) -> None:
        """Record something a person may want to know; warnings also go into the record."""
        self.event({"event": "note", "level": level, "text": text})
        if level == "warning":
            self.record = replace(self.record, warnings=(*self.record.warnings, text))

    def planned(self, plan: Plan, state: State) -> None:
        """Write the plan, without secrets, and who runs where; a long one later on, for the nodes are waiting."""
        self._state, self._unwritten_plan = state, plan
        if len(plan.processes) <= _LONG_PLAN:
            self._attempt(self._write_plan)
        else:
            self._due_at = time.monotonic() + _SHARE * _PROCESS * len(plan.processes)
            self._rewrite_soon()

    def _write_plan(self) -> None:
        plan, self._unwritten_plan = self._unwritten_plan, None
        if plan is not None and self._state is not None:
            self._files.planned(plan, self._state)
            replace_pieces(self._folder.plan, plan_pieces(plan))

    def follow(self, old: State, new: State) -> None:
        """Record what changed between two states."""
        self._state = new
        if (new.status is not old.status and not new.status.is_terminal) or new.preempting != old.preempting:
            # Told before it is read elsewhere: who sees a line of the job's log finds the run Running, and who sees
            # it heed a notice of preemption finds that noticed.
            self._attempt(self._write_run)
        for happening in history.events_between(old, new, time.monotonic()):
            self.event(happening)
        self._rewrite_soon()

    def attempt_ended(self, report: Report | None) -> None:
        """Write down an attempt's last state and why it failed where that stays, with its logs."""
        self._attempt(lambda: self._write_status(whole=True))
        if report is not None:
            folder = self._folder.attempt(report.attempt)
            self._attempt(lambda: replace_json(folder / self._folder.report_data.name, to_plain(report)))
            self._attempt(lambda: replace_file(folder / self._folder.report.name, markdown(report)))

    def decided(self, state: State) -> None:
        """Take the verdict's state, in which the blame may have moved."""
        self._state = state

    def report(self, report: Report) -> None:
        """Write why the run did not complete, for programs and for people."""
        self._attempt(lambda: replace_json(self._folder.report_data, to_plain(report)))
        self._attempt(lambda: replace_file(self._folder.report, markdown(report)))

    def edit(self, edit: Edit) -> None:
        """Change the record as somebody asks for; raises UserError if it may not be."""
        self.record = apply_edit(self.record, edit, self.log.utc(time.monotonic()))
        if isinstance(edit, Finish):
            self._is_said = True
        self._attempt(self._write_edit)

    def queued_again(self) -> None:
        """Record that the run waits for its scheduler, which will have another process go on with its next attempt."""
        self.record = replace(
            self.record,
            status=RunStatus.QUEUED,
            attempt=self.record.attempt + 1,
            coordinator=None,
            nodes=(),
            preempting=None,
        )
        self._is_said = True
        self._attempt(self._write_edit)
        self.event({"event": "status", "status": RunStatus.QUEUED.value})

    def _write_edit(self) -> None:
        with changing(self._folder.workspace, [self._folder.run_id]):
            self._write_run()

    def write_now(self, *, whole: bool = False) -> None:
        """Bring `run.json` and the status files up to date; those of many nodes later on, unless `whole`."""
        if whole or self._unwritten_plan is None:
            self._write_all(whole=whole)
        else:
            self._attempt(self._write_run)  # The status files that are there are an earlier plan's.

    def _write_all(self, *, whole: bool) -> None:
        began = time.monotonic()
        self._attempt(self._write_run)
        self._attempt(lambda: self._write_status(whole=whole))
        now = time.monotonic()
        self._due_at = now + max(_REWRITE_INTERVAL, _SHARE * (now - began))

    def _write_status(self, *, whole: bool) -> None:
        self._write_plan()
        if self._state is not None and not self._files.write(self._state, whole=whole):
            self._rewrite_soon()

    def _rewrite_soon(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_later(max(0.0, self._due_at - time.monotonic()), self._rewrite)

    def _write_run(self) -> None:
        state = self._state
        if state is not None:
            nodes = tuple(self._node(node, history.node_word(state, node.index)) for node in self.record.nodes)
            self._known.clear()
            # Nor is a verdict written before all that belongs to it: the scheduler may have the run again instead.
            is_early = state.status.is_terminal and self.record.exit_status is None
            status = self.record.status if self._is_said or is_early else state.status
            self.record = replace(self.record, status=status, nodes=nodes, preempting=state.preempting)
        write_record(self._folder.record, self.record)

    def _node(self, node: NodeRecord, word: str) -> NodeRecord:
        known = self._known.get(node.index)
        return replace(node, state=word, **known or {}) if known or node.state != word else node

    def _rewrite(self) -> None:
        self._due = False
        if time.monotonic() < self._due_at:
            self._rewrite_soon()  # It was put off meanwhile.
        else:
            self._write_all(whole=False)
