"""The coordinator's loop: events in, `decide`, actions out. Policy is in `distribution/decide/`."""

from __future__ import annotations

import importlib
import math
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from regiment.distribution import actions, events, history
from regiment.distribution.decide import decide
from regiment.distribution.plan import LauncherKind, NodePlan, Plan
from regiment.distribution.planner import make_plan
from regiment.distribution.report import Report, run_error
from regiment.distribution.requeue import requeue_of
from regiment.distribution.state import Phase, Policy, State, first_state
from regiment.jobs.dataclass import replace
from regiment.jobs.edits import Finish, Start
from regiment.jobs.errors import ExitStatus, UserError
from regiment.jobs.files import private_folder
from regiment.jobs.lock import RecordLock
from regiment.jobs.record import CoordinatorRecord, NodeRecord, RunError, RunStatus, read_record
from regiment.jobs.requests import Cancel, Rejoin, Request, grant, pending, refuse
from regiment.jobs.workspace import RunFolder, node_log_prefix

from ..backends.backend import Backend
from ..node import messages, processes, scratch
from ..node.loop import Loop
from .collected import merge, remove_inputs
from .nodes import Nodes
from .order import Order
from .queue import Queue
from .recorder import Recorder
from .session import Session
from .starts import Starts
from .verdict import shell_exit_code
from .watchers import Watchers, Wish

_OWNER_GONE_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL for a run whose terminal is gone, or whose coordinator is told to end."""
_LOOK = 0.5
"""Seconds between two looks at what others ask for, where they cannot reach our socket."""


class Coordinator:
    """One run's coordinator."""

    def __init__(
        self, order: Order, folder: RunFolder, owner: socket.socket, lock: RecordLock, backend: Backend
    ) -> None:
        self.loop = Loop()
        self._lock = lock
        self._order = order
        self._spec = order.spec
        self._folder = folder
        self._sockets = scratch.socket_folder()
        self._recorder = recorder = Recorder(self.loop, folder, read_record(folder.record))
        self._watchers = watchers = Watchers(self.loop, owner, recorder, self._wished, self._owner_gone)
        recorder.log.tell = watchers.tell
        self._backend = backend
        self._nodes = Nodes(
            self.loop,
            order,
            folder,
            self._sockets,
            recorder,
            backend,
            happened=self._happened,
            on_ports=self._ports_reserved,
            on_log=watchers.log_grew,
        )
        self._plan = self._make_plan()
        slots = [node.node.slots for node in self._plan.nodes]
        helpers = frozenset(process.rank for process in self._plan.processes if not process.ends_run)
        state = first_state(_policy(order, self._plan), slots, time.monotonic(), helpers)
        self._state = replace(state, attempt=recorder.record.attempt)
        self._session = Session(self.loop, order.terminal)
        self._starts: Starts | None = None
        self._wake_timer: int | None = None
        self._wake_at: float | None = None
        self._called_failure: Finish | None = None
        self._queued_again = False
        self._is_left = False
        self._queue = Queue(self.loop, recorder)
        self._report: Report | None = None

    def run(self) -> None:
        """See the run through."""
        # What a node leaves whose agent and keeper are both killed becomes our child, and is found and ended.
        processes.become_subreaper("regiment-coord")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.loop.on_signal(number, self._told_to_end(number))
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            self.loop.on_signal(number, self._told_of_preemption(number))
        self.loop.on_signal(signal.SIGCHLD, processes.reap_orphans)
        self._make_folders()
        self._introduce()
        self._nodes.start()
        self.loop.post(_import_the_rest)  # While the agents start.
        # From within the loop, which a request may end.
        self.loop.post(self._look_at_requests if self._recorder.record.scheduler is None else self._keep_looking)
        self._set_wake_timer()
        try:
            self.loop.run()
        finally:
            self._recorder.log.flush()

    def _introduce(self) -> None:
        path = f"{self._sockets}/coordinator.sock"
        self._watchers.listen(path)
        recorder, pid = self._recorder, os.getpid()
        coordinator = CoordinatorRecord(
            pid, processes.start_ticks(pid) or 0, processes.boot_id(), socket.gethostname(), path
        )
        self._lock.name_owner(coordinator.owner)
        recorder.record = replace(
            recorder.record,
            coordinator=coordinator,
            status=self._state.status,
            start_time_utc=recorder.log.utc(recorder.log.started_at),
            nodes=tuple(NodeRecord(n.node.index, n.node.node_id, "starting") for n in self._plan.nodes),
        )
        recorder.planned(self._plan, self._state)
        recorder.write_now()
        self._tell_start()
        recorder.event({"event": "status", "status": self._state.status.value})
        for note in (*self._order.notes, *self._plan.notes):
            recorder.note("warning", note)
        self._watchers.accept_owner()

    def _tell_start(self) -> None:
        recorder, grace = self._recorder, self._spec.options.grace
        recorder.event(history.run_started(recorder.record, self._plan, str(self._folder.root), grace))

    def _make_folders(self) -> None:
        attempt = self._recorder.record.attempt
        private_folder(self._folder.attempt_logs(attempt))
        link = self._folder.attempt_logs_link
        link.unlink(missing_ok=True)
        link.symlink_to(self._folder.attempt_logs(attempt).relative_to(self._folder.root))
        for path in (self._folder.outputs, self._folder.own_logs, self._folder.requests):
            private_folder(path)

    def _make_plan(self) -> Plan:
        order = self._order
        placement = self._nodes.placement()
        return make_plan(self._spec, placement, order.run_id, self._recorder.record.attempt, order.mpirun)

    # --- events and actions -------------------------------------------------------------------------

    def _happened(self, event: events.Event) -> None:
        old = self._state
        self._state, wanted = decide(old, event, time.monotonic())
        self._recorder.follow(old, self._state)
        self._set_wake_timer()
        for action in wanted:
            _ACTIONS[type(action)](self, action)

    def _set_wake_timer(self) -> None:
        wake_at = self._state.wake_at
        if self._wake_timer is not None:
            if wake_at == self._wake_at:
                return  # As after most events, of which there may be ten thousands.
            self.loop.cancel(self._wake_timer)
            self._wake_timer = None
        if wake_at is not None:
            self._wake_timer = self.loop.call_later(max(0.0, wake_at - time.monotonic()), self._time_passed)
        self._wake_at = wake_at

    def _time_passed(self) -> None:
        self._wake_timer = None
        self._happened(events.TimePassed())

    def prepare_node(self, action: actions.PrepareNode) -> None:
        """Let a node make its folders."""
        if self._nodes.has_new_places:
            self._nodes.has_new_places = False
            self._plan = self._make_plan()
        spec, folder = self._spec, self._nodes.folder(action.node)
        logs = folder.attempt_logs(self._recorder.record.attempt)
        node = self._plan.nodes[action.node]
        node_id = node.node.node_id
        copy = str(folder.node_workspace(node_id))
        self._nodes.prepare(
            action.node,
            messages.Prepare(
                working_folder=copy if spec.code else str(spec.working_folder),
                logs=str(logs),
                code=str(folder.code) if spec.code else None,
                log_prefix=node_log_prefix(node_id, spec.instance_count),
                plan=node if spec.inputs or spec.outputs else None,
                is_again=self._state.attempt > 0 or self._nodes.is_again(action.node),
                gpus=(node.node.gpus or ()) if self._state.attempt > 0 else (),
                looks_at_outputs=self._state.policy.has_restarts,
            ),
        )

    def start_processes(self, action: actions.StartProcesses) -> None:
        """Have the ports held that the processes need; the rest follows when they are."""
        self._nodes.reserve_ports()

    def _ports_reserved(self) -> None:
        if self._state.phase is not Phase.RUNNING:
            return
        self._plan = self._make_plan()
        self._recorder.planned(self._plan, self._state)
        self._starts = Starts(self._plan, self._order.terminal)
        for node in self._plan.nodes:
            self._start_processes_of(node)

    def _start_processes_of(self, node: NodePlan) -> None:
        assert self._starts is not None
        self._nodes.tell_line(node.node.index, self._starts.line(node))

    def launch_node(self, action: actions.LaunchNode) -> None:
        """Start a lost node's agent again."""
        self._nodes.start_again(action.node)

    def start_node_processes(self, action: actions.StartNodeProcesses) -> None:
        """Start the processes of a node that has joined the others."""
        self._start_processes_of(self._plan.nodes[action.node])

    def stop_node(self, action: actions.StopNode) -> None:
        """End a node's processes."""
        self._nodes.tell(action.node, messages.Stop(action.grace))

    def fence_node(self, action: actions.FenceNode) -> None:
        """Make sure that a lost node runs nothing of ours."""
        if self._state.phase is Phase.RUNNING:
            text = f"the run goes on without node-{action.node}; 'regiment rejoin {self._order.run_id}' brings it back"
            self._recorder.note("warning", text)
        left = self._nodes.fence(action.node)
        for pid in left:
            stuck = processes.described(pid)
            if stuck is not None:
                text = f"node-{action.node}: {stuck} cannot be killed; it is stuck in the kernel, and left behind"
                self._recorder.note("warning", text)
        ends_by = self._nodes.ends_by(action.node)
        self._happened(events.NodeFenced(action.node, is_clean=not left, ends_by=ends_by))

    def await_end(self, action: actions.AwaitEnd) -> None:
        """Say what is waited for, and until when."""
        node = self._plan.nodes[action.node].node
        at = time.strftime("%H:%M:%S", time.localtime(math.ceil(time.time() + action.until - time.monotonic())))
        text = f"waits until {at} for {node.host}'s processes ({node.node_id}) to have ended by themselves"
        self._recorder.note("warning", text)

    def ask_node(self, action: actions.AskNode) -> None:
        """Ask a node whether it is there."""
        self._nodes.tell(action.node, messages.Ping(action.question))

    def let_start(self, action: actions.LetStart) -> None:
        """Let a node's launcher start what it wants to."""
        self._nodes.tell(action.node, messages.LetStart())

    def meet_again(self, action: actions.MeetAgain) -> None:
        """Have a node's launcher meet the others again."""
        self._nodes.tell(action.node, messages.MeetAgain())

    def collect_node(self, action: actions.CollectNode) -> None:
        """Bring in what the job wrote on a node."""
        self._nodes.tell(action.node, messages.Collect())

    def release_node(self, action: actions.ReleaseNode) -> None:
        """Let a node's agent go."""
        self._nodes.tell(action.node, messages.Release())

    def signal_node(self, action: actions.SignalNode) -> None:
        """Tell a node's processes of a preemption."""
        ends_at = self._state.preemption_ends_at
        remaining = None if ends_at is None else round(max(0.0, ends_at - time.monotonic()), 3)
        self._nodes.tell(action.node, messages.Notify(action.signal, self._state.preempting or "", remaining))

    def say(self, action: actions.Say) -> None:
        """Tell everybody something that a person should know."""
        self._recorder.note("warning", action.text)

    # --- attempts -----------------------------------------------------------------------------------

    def judge_attempt(self, action: actions.JudgeAttempt) -> None:
        """Find out what an attempt failed of, and of what kind that is."""
        self._state, self._report = self._investigate()
        self._recorder.decided(self._state)
        cause, report = self._state.cause, self._report
        assert cause is not None and report is not None and report.cause is not None
        self._happened(events.AttemptJudged(replace(cause, kind=report.cause.kind)))

    def _investigate(self) -> tuple[State, Report | None]:
        from .investigation import investigate

        return investigate(self._folder, self._plan, self._state, self._nodes.circumstances)

    def end_attempt(self, action: actions.EndAttempt) -> None:
        """Tell that an attempt has failed, and that another one follows."""
        recorder, state = self._recorder, self._state
        recorder.attempt_ended(self._report)
        error = run_error(self._report)
        if error is not None and error.report is not None:
            error = replace(error, report=f"attempts/{state.attempt}/{error.report}")
        recorder.event(history.attempt_ended(state, error, action.pause))
        recorder.note("warning", history.restart_note(state, action.pause, action.left))

    def begin_attempt(self, action: actions.BeginAttempt) -> None:
        """Make the folders of a new attempt and tell of it."""
        recorder = self._recorder
        recorder.record = replace(recorder.record, attempt=self._state.attempt)
        self._make_folders()
        self._nodes.forget_attempt()
        self._watchers.forget_logs()
        self._plan = self._make_plan()
        recorder.planned(self._plan, self._state)
        recorder.write_now()
        self._tell_start()
        self._happened(events.AttemptBegun())

    # --- the end ------------------------------------------------------------------------------------

    def end_run(self, action: actions.EndRun) -> None:
        """Write the verdict, tell everybody, and end, as soon as all logs are complete."""
        rank = self._session.rank
        if rank is not None and self._state.processes[rank].started_at is not None:
            self._session.when_complete(self._end)
        else:
            self._end()

    def _end(self) -> None:
        self._merge_what_nodes_wrote()
        self._note_what_lost_nodes_left()
        self._judge()

    def _judge(self) -> None:
        self._state, report = self._investigate()
        recorder, state = self._recorder, self._state
        recorder.decided(state)
        error = run_error(report)
        if report is not None:
            recorder.report(report)
        if self._queued_again and state.status is RunStatus.CANCELED and not self._is_called_off:
            self._leave_to_the_queue(error)
            return
        again = requeue_of(state, report) if self._order.requeues_left and not self._is_called_off else None
        if again is None:
            self._conclude(error)
        else:
            self._queue.ask(again, lambda took: self._queue_answered(error, took=took))

    def _queue_answered(self, error: RunError | None, *, took: bool) -> None:
        if not took:
            self._conclude(error)
        elif self._is_called_off:
            self._judge()  # Meanwhile; whoever has asked the scheduler for us reads it in the record.
        else:
            self._leave_to_the_queue(error)

    @property
    def _is_called_off(self) -> bool:
        """Say whether somebody wants the run to end, or has called it a failure: no queue is to have it again then."""
        return self._state.called_off is not None or self._called_failure is not None

    def _conclude(self, error: RunError | None) -> None:
        """Write the verdict and go."""
        recorder, state = self._recorder, self._state
        now = time.monotonic()
        elapsed = round(now - recorder.log.started_at, 3)
        recorder.record = replace(
            recorder.record,
            error=error if self._called_failure is None else None,
            end_time_utc=recorder.log.utc(now),
            elapsed_seconds=elapsed,
            exit_status=int(state.exit_status),
            job_exit_code=shell_exit_code(error.exit_code, error.signal) if error else None,
        )
        if self._called_failure is not None:
            recorder.edit(self._called_failure)  # Before anybody reads that it was only stopped.
        recorder.write_now(whole=True)
        recorder.event(history.run_ended(recorder.record))
        self._watchers.flush()
        text = f"run {state.status.value}" if error is None else f"run {state.status.value}: {error.message}"
        self._backend.end(int(state.exit_status), text, self._go)

    def _leave_to_the_queue(self, error: RunError | None) -> None:
        """End this process and not the run: the scheduler will start its job again, with another coordinator."""
        self._is_left = True
        recorder, state = self._recorder, self._state
        recorder.attempt_ended(None)
        recorder.event(history.attempt_ended(state, error, 0.0))
        recorder.queued_again()
        self._watchers.flush()
        self._backend.end(int(ExitStatus.PREEMPTED), f"run Queued again: {state.canceled}", self._go)

    def _go(self) -> None:
        self._look_at_requests()
        self._tidy()
        self.loop.stop()

    def _merge_what_nodes_wrote(self) -> None:
        for node in self._plan.nodes[1:]:
            node_id = node.node.node_id
            for target in (self._folder.outputs, self._folder.logs):
                brought = self._folder.brought(node_id) / target.name
                try:
                    kept = merge(brought, target, node_id)
                except OSError as error:
                    self._recorder.note("warning", f"what {node_id} wrote stays in {brought}: {error}")
                    continue
                if kept:
                    self._recorder.note(
                        "info", f"{node_id} wrote {len(kept)} files differently; see {target / kept[0]}"
                    )

    def _note_what_lost_nodes_left(self) -> None:
        for node in self._plan.nodes:
            copy = self._folder.node_workspace(node.node.node_id)
            if copy.is_dir():
                self._recorder.note("warning", f"what {node.node.node_id} wrote was not collected; it is in {copy}")
            outputs = remove_inputs(self._folder.node_data(node.node.node_id))
            if outputs is not None:
                self._recorder.note(
                    "warning", f"outputs of {node.node.node_id} were not collected; they are in {outputs}"
                )

    def _tidy(self) -> None:
        self._nodes.forget_token()
        scratch.remove_sockets(self._sockets)
        scratch.remove_shared_memory(self._sockets)
        brought = [self._folder.brought(node.node.node_id) for node in self._plan.nodes[1:]]
        for folder in (*brought, *(path.parent for path in brought[:1]), self._folder.requests):
            try:
                folder.rmdir()
            except OSError:
                pass  # Something could not be merged, or a request came too late; nobody reads it any more.
        scratch.remove(str(self._folder.fetched))
        scratch.remove_if_empty(str(self._folder.scratch))

    # --- wishes -------------------------------------------------------------------------------------

    def _wished(self, wish: Wish) -> None:
        match wish:
            case messages.StopRun(reason, force, grace, is_persons):
                self._happened(events.StopRequested(reason, force, grace, is_persons))
            case messages.QueuedAgain(reason):
                self._queued_again = True
                self._happened(events.StopRequested(reason))
            case messages.Requeued():
                self._queue.answer(wish)
            case messages.Noticed(name, grace):
                who = "its viewer" if grace is None else "the agent of node-0"
                self._happened(events.PreemptionNoticed(f"{who} got {name}", name, grace))
            case messages.Rejoin():
                self._happened(events.RejoinRequested())
            case messages.LookAtRequests():
                self._look_at_requests()
            case messages.TerminalLog(size) if self._session.rank is not None:
                self._watchers.log_grew(self._session.rank, size)
                self._session.log_written(wish)

    def _look_at_requests(self) -> None:
        if self._is_left:
            return  # The run is no more ours: who asks for something finds it in the queue.
        for path, request in pending(self._folder.requests, lambda text: self._recorder.note("warning", text)):
            try:
                self._grant(request)
            except UserError as error:
                refuse(path, str(error))
            else:
                grant(path)

    def _keep_looking(self) -> None:
        """Look at requests again and again: who asks for something on the login node cannot tell us so."""
        self.loop.call_later(_LOOK, self._keep_looking)
        self._look_at_requests()

    def _grant(self, request: Request) -> None:
        match request:
            case Cancel(reason, force):
                self._happened(events.StopRequested(reason, force, is_persons=True))
            case Rejoin():
                self._happened(events.RejoinRequested())
            case Finish(RunStatus.CANCELED, message):
                self._happened(events.StopRequested(message or "cancelled", is_persons=True))
            case Finish(RunStatus.FAILED) if self._recorder.record.status.is_terminal:
                self._recorder.edit(request)
            case Finish(RunStatus.FAILED, message):
                # What still runs is stopped first; the record says Failed when nothing does.
                self._called_failure = request
                self._happened(events.StopRequested(message or "marked as Failed", is_persons=True))
            case Finish() | Start():
                pass  # A run with processes has begun, and completes when they do.
            case _:
                self._recorder.edit(request)

    def _owner_gone(self) -> None:
        self._session.viewer_left()
        if self._order.attached:
            self._happened(events.StopRequested("the terminal it was attached to is gone", grace=_OWNER_GONE_GRACE))

    def _told_to_end(self, number: signal.Signals) -> Callable[[], None]:
        reason = f"its coordinator got {number.name}"
        return lambda: self._happened(events.StopRequested(reason, grace=_OWNER_GONE_GRACE))

    def _told_of_preemption(self, number: signal.Signals) -> Callable[[], None]:
        source = f"its coordinator got {number.name}"
        return lambda: self._happened(events.PreemptionNoticed(source, number.name))


def _import_the_rest() -> None:
    """Import what only a verdict takes, before somebody can delete the packed agent."""
    importlib.import_module(f"{__package__}.investigation")


def _policy(order: Order, plan: Plan) -> Policy:
    options = order.spec.options
    launchers = [node.launcher for node in plan.nodes if node.launcher is not None]
    return Policy(
        grace=options.grace,
        start_limit=Policy.start_limit if order.hosts is None else order.hosts.all_within,
        time_limit=order.spec.timeout,
        launcher_restarts=max((launcher.own_restarts for launcher in launchers), default=0),
        launcher=launchers[0].called if launchers else "the launcher",
        one_launcher=any(launcher.kind is LauncherKind.MPIRUN for launcher in launchers),
        min_nodes=options.min_nodes,
        restarts=options.restarts,
        early_exit=options.early_exit,
        may_requeue=order.requeues_left > 0,
        preemption_grace=options.preemption_grace,
    )


_ACTIONS: dict[type[Any], Callable[[Coordinator, Any], None]] = {
    actions.PrepareNode: Coordinator.prepare_node,
    actions.StartProcesses: Coordinator.start_processes,
    actions.LaunchNode: Coordinator.launch_node,
    actions.StartNodeProcesses: Coordinator.start_node_processes,
    actions.StopNode: Coordinator.stop_node,
    actions.FenceNode: Coordinator.fence_node,
    actions.AwaitEnd: Coordinator.await_end,
    actions.AskNode: Coordinator.ask_node,
    actions.LetStart: Coordinator.let_start,
    actions.MeetAgain: Coordinator.meet_again,
    actions.SignalNode: Coordinator.signal_node,
    actions.JudgeAttempt: Coordinator.judge_attempt,
    actions.EndAttempt: Coordinator.end_attempt,
    actions.BeginAttempt: Coordinator.begin_attempt,
    actions.Say: Coordinator.say,
    actions.CollectNode: Coordinator.collect_node,
    actions.ReleaseNode: Coordinator.release_node,
    actions.EndRun: Coordinator.end_run,
}
