"""`regiment agent` as a task of Slurm's: a node of a run that was made on the login node, in a folder all share."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from regiment.distribution.places.place import Place
from regiment.distribution.slurm.hosts import host_names
from regiment.jobs.changes import changing
from regiment.jobs.dataclass import dataclass, replace
from regiment.jobs.errors import ExitStatus, NodeError, RegimentError, UserError
from regiment.jobs.files import replace_json
from regiment.jobs.lock import RecordLock, try_lock
from regiment.jobs.plain import from_plain
from regiment.jobs.record import RunRecord, RunStatus, SchedulerRecord, read_record, write_record
from regiment.jobs.spec import JobSpec
from regiment.jobs.workspace import RunFolder, Workspace

from ..bundle import packed_agent
from ..coordinator.network import Network
from ..coordinator.order import Order
from ..coordinatorstart import CoordinatorProcess
from ..join.certificate import make_certificate
from ..join.dialing import dial
from ..join.listening import listen
from ..join.relay import Relay
from ..mpi import find_mpirun
from ..node import messages
from ..node.loop import Loop
from ..node.runkey import read_key
from ..view import choose_view
from ..viewer import Viewer
from . import commands

_LOCK_LIMIT = 60.0
"""Seconds that whoever submitted the run may take to write down that he has."""
_LOOK = 0.1
"""Seconds between two looks at a file that another node writes."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """A task of Slurm's, one a node."""

    job_id: str
    restarts: int
    """How often the job has been started before: one that is queued again keeps its number."""
    step: str
    """Which of its steps this is."""
    rank: int
    nodes: int
    node_name: str
    names: tuple[str, ...]
    """All nodes by their numbers, where the job is the run's own."""


def task_of(environ: Mapping[str, str]) -> Task:
    """Read what Slurm, or Flux on nodes of Slurm's, tells its tasks.

    Raises:
        UserError: This is none.
    """
    if environ.get("FLUX_TASK_RANK"):
        flux_id, place, size = (environ[f"FLUX_{name}"] for name in ("JOB_ID", "TASK_RANK", "JOB_SIZE"))
        return Task(flux_id, 0, "0", int(place), int(size), socket.gethostname(), ())
    names = ("SLURM_JOB_ID", "SLURM_NODEID", "SLURM_STEP_NUM_NODES", "SLURMD_NODENAME", "SLURM_STEP_NODELIST")
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise UserError(f"{missing[0]} is not set; --run-folder is for tasks that Slurm's srun starts, one a node")
    job_id, rank, nodes, node_name, hosts = (environ[name] for name in names)
    restarts, step = environ.get("SLURM_RESTART_COUNT", "0"), environ.get("SLURM_STEP_ID", "0")
    return Task(job_id, int(restarts), step, int(rank), int(nodes), node_name, host_names(hosts))


def be_a_node(root: Path, start_timeout: float, say: Say) -> int:
    """Be this task's node of the run in that folder; gives the run's exit status."""
    task = task_of(os.environ)
    folder = Workspace(root.parent.parent).existing_run(root.name)
    key = read_key(str(folder.key))
    if task.rank:
        return _other(folder, task, key, start_timeout, say)
    try:
        return _first(folder, task, key, start_timeout, say)
    except (RegimentError, OSError, ImportError) as error:
        # The others need not wait until their patience is at its end.
        replace_json(folder.meeting, {**_which(task), "failed": str(error)})
        raise


# --- node 0 -----------------------------------------------------------------------------------------


def _first(folder: RunFolder, task: Task, key: bytes, start_timeout: float, say: Say) -> int:
    coordinator = CoordinatorProcess(packed_agent(folder.workspace.cache))
    with _locked(folder) as lock:
        record = _taken_up(folder, task)
        if record.status.is_terminal:
            say(f"run {record.run_id} has ended before its nodes came: {record.status.value}")
            return int(record.exit_status if record.exit_status is not None else ExitStatus.CANCELED)
        # Another's job is not ours to put back: whoever has it gets exit status 5.
        is_own_job = record.scheduler is None or record.scheduler.kind == "slurm"
        requeues = record.scheduler.requeues if record.scheduler is not None else 0
        spec = from_plain(JobSpec, json.loads(folder.order.read_text("utf-8")))
        address = commands.node_address(task.node_name) if task.names else task.node_name
        place = Place(task.nodes, 0, address, 0, str(folder.key), "Slurm's job")
        listener, address = listen(place)
        with listener:
            _write_meeting(folder, task, address, listener.getsockname()[1])
            certificate, private_key = make_certificate()
            order = Order(
                spec=replace(spec, instance_count=task.nodes),
                workspace=str(folder.workspace.root),
                run_id=folder.run_id,
                attached=True,
                zip=str(coordinator.zip),
                python=sys.executable,
                agent_python=sys.executable,
                mpirun=find_mpirun(spec, has_srun=bool(task.names)),
                network=Network(address, key.hex(), certificate, private_key, start_timeout),
                requeues_left=max(0, spec.options.requeue - requeues) if is_own_job else 0,
            )
            connection = coordinator.take_up(order, folder, lock, listener)
    view = choose_view(sys.stdout, sys.stderr, True, folder.root)
    loop = Loop()
    viewer = Viewer(folder, connection, view, loop)
    ending = _Ending(task, viewer, requeues, is_own_job)
    viewer.on_event = ending.look
    if record.attached:
        loop.on_read(sys.stdin.fileno(), lambda: _listen_to_starter(loop, viewer))
    try:
        return viewer.run(owns_run=True, on_term=ending)
    except NodeError:
        if read_record(folder.record).status is not RunStatus.QUEUED:
            raise
        return int(ExitStatus.PREEMPTED)  # It has left the run to the queue, and its next attempt to another.
    finally:
        _wind_up(folder, task, is_queued=ending.is_queued)


def _wind_up(folder: RunFolder, task: Task, *, is_queued: bool) -> None:
    """Take away what an ended run needs no more: its secrets, its place in the queue, nodes that never came or hang."""
    record = read_record(folder.record)
    if not record.status.is_terminal:
        return
    for secret in (folder.order, folder.key):
        secret.unlink(missing_ok=True)  # Nobody will start it again.
    if is_queued:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        commands.scancel(task.job_id)  # Somebody has cancelled the run after the job had been queued again.
    elif task.names and any(node.state != "released" for node in record.nodes):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # It comes to us as well.
        commands.scancel(f"{task.job_id}.{task.step}")


def _listen_to_starter(loop: Loop, viewer: Viewer) -> None:
    """End the run with the `regiment run` that has started its nodes, and that we read from for nothing else."""
    if os.read(sys.stdin.fileno(), 4096) == b"":
        loop.on_read(sys.stdin.fileno(), None)
        viewer.hang_up()


class _Ending:
    """What node 0 does when Slurm ends the job, which it may say more than once, or the run wants it queued again."""

    def __init__(self, task: Task, viewer: Viewer, requeues: int, is_own_job: bool) -> None:
        self._task = task
        self._viewer = viewer
        self._requeues = requeues
        self._is_own_job = is_own_job
        self._is_known = False
        self.is_queued = False
        """Whether Slurm has the job in its queue again."""

    def look(self, event: Mapping[str, Any]) -> None:
        """Have the job queued again where the run's coordinator asks for it."""
        if event.get("event") != "requeue" or event["number"] <= self._requeues:
            return  # Or that is what it asked for in an earlier life of it.
        self._is_known = True  # Slurm ends the job now.
        failed = tuple(self._task.names[index] for index in event["nodes"])
        try:
            commands.requeue(self._task.job_id, self._task.restarts, failed)
        except NodeError as error:
            self._viewer.tell(messages.Requeued(refusal=str(error)))
        else:
            self.is_queued = True
            self._viewer.tell(messages.Requeued(excluded=failed))

    def __call__(self) -> None:
        if self._is_known:
            return
        self._is_known = True
        reason, is_queued_again = commands.why_it_ends(self._task.job_id, self._task.restarts)
        # Somebody's script that starts the run would start another one.
        self.is_queued = is_queued_again and self._is_own_job
        self._viewer.tell(messages.QueuedAgain(reason) if self.is_queued else messages.StopRun(reason))


def _locked(folder: RunFolder) -> RecordLock:
    """Take the lock on the run's record, which whoever submitted it may still have."""
    deadline = time.monotonic() + _LOCK_LIMIT
    while (lock := try_lock(folder.lock)) is None:
        if time.monotonic() > deadline:
            raise NodeError(f"somebody else keeps run {folder.run_id}; see {folder.lock}")
        time.sleep(_LOOK)
    return lock


def _taken_up(folder: RunFolder, task: Task) -> RunRecord:
    """Give the record with the job in it, which the submitter may have been killed before he could write."""
    old = record = read_record(folder.record)
    if record.scheduler is None:
        record = replace(record, scheduler=SchedulerRecord("slurm", task.job_id))
    if task.restarts and record.coordinator is not None and not record.status.is_terminal:
        # The coordinator was killed with its node. Slurm starts a job again only when nothing of it is left anywhere.
        record = replace(record, attempt=record.attempt + 1, coordinator=None, nodes=(), preempting=None)
    if record is not old:
        with changing(folder.workspace, [folder.run_id]):
            write_record(folder.record, record)
    return record


# --- the others -------------------------------------------------------------------------------------


def _other(folder: RunFolder, task: Task, key: bytes, start_timeout: float, say: Say) -> int:
    # Slurm tells all tasks of a job at once. Node 0 ends the run on all nodes; none may look like the cause of that.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    host, port = _meeting(folder, task, start_timeout)
    place = Place(task.nodes, task.rank, host, port, str(folder.key), "Slurm's job")
    connection = dial(place, key, start_timeout, say)
    return Relay(
        f"the coordinator at {place.master}",
        connection.stream,
        connection.address,
        packed_agent(folder.workspace.cache),
        None,
        say,
    ).run()


def _write_meeting(folder: RunFolder, task: Task, address: str, port: int) -> None:
    replace_json(folder.meeting, {**_which(task), "address": address, "port": port})


def _which(task: Task) -> dict[str, Any]:
    return {"jobId": task.job_id, "restarts": task.restarts, "step": task.step}


def _meeting(folder: RunFolder, task: Task, limit: float) -> tuple[str, int]:
    """Wait until node 0 of this start of the job listens; gives its address and port."""
    deadline = time.monotonic() + limit
    while True:
        found = _read_meeting(folder)
        if found.items() >= _which(task).items():
            if "failed" in found:
                raise NodeError(f"node 0 could not begin: {found['failed']}")
            return str(found["address"]), int(found["port"])
        if read_record(folder.record).status.is_terminal:
            raise NodeError(f"run {folder.run_id} has ended before its nodes came")
        if time.monotonic() > deadline:
            raise NodeError(
                f"node 0 has not come within {limit:g} s; see {folder.batch_log}, and that {folder.root} is shared"
            )
        time.sleep(_LOOK)


def _read_meeting(folder: RunFolder) -> dict[str, Any]:
    # A network's disk remembers for a while that there was no such file, unless its folder is looked at.
    if folder.meeting.name not in os.listdir(folder.root):
        return {}
    found: dict[str, Any] = json.loads(folder.meeting.read_text("utf-8"))
    return found
