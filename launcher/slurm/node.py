"""`regiment agent` as a task of Slurm's: a node of a run that was made on the login node, in a folder all share."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from regiment.jobs.changes import changing
from regiment.jobs.dataclass import dataclass, replace
from regiment.jobs.errors import ExitStatus, NodeError, UserError
from regiment.jobs.files import replace_json
from regiment.jobs.lock import RecordLock, try_lock
from regiment.jobs.plain import from_plain
from regiment.jobs.record import RunRecord, SchedulerRecord, read_record, write_record
from regiment.jobs.spec import JobSpec
from regiment.jobs.workspace import RunFolder, Workspace

from ..bundle import packed_agent
from ..coordinator.network import Network
from ..coordinator.order import Order
from ..coordinatorstart import CoordinatorProcess
from ..join.certificate import make_certificate
from ..join.dialing import dial
from ..join.listening import listen
from ..join.place import Place
from ..join.relay import Relay
from ..mpi import find_mpirun
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
    start: str
    """Which start of the job it is, and which of its steps: a job that is queued again keeps its number."""
    rank: int
    nodes: int
    node_name: str


def task_of(environ: Mapping[str, str]) -> Task:
    """Read what Slurm tells its tasks.

    Raises:
        UserError: This is none.
    """
    names = ("SLURM_JOB_ID", "SLURM_NODEID", "SLURM_STEP_NUM_NODES", "SLURMD_NODENAME")
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise UserError(f"{missing[0]} is not set; --run-folder is for tasks that Slurm's srun starts, one a node")
    job_id, rank, nodes, node_name = (environ[name] for name in names)
    start = f"{environ.get('SLURM_RESTART_COUNT', '0')}.{environ.get('SLURM_STEP_ID', '0')}"
    return Task(job_id, start, int(rank), int(nodes), node_name)


def be_a_node(root: Path, start_timeout: float, say: Say) -> int:
    """Be this task's node of the run in that folder; gives the run's exit status."""
    task = task_of(os.environ)
    folder = Workspace(root.parent.parent).existing_run(root.name)
    key = read_key(str(folder.key))
    node = _first if task.rank == 0 else _other
    return node(folder, task, key, start_timeout, say)


# --- node 0 -----------------------------------------------------------------------------------------


def _first(folder: RunFolder, task: Task, key: bytes, start_timeout: float, say: Say) -> int:
    coordinator = CoordinatorProcess(packed_agent(folder.workspace.cache))
    with _locked(folder) as lock:
        record = _taken_up(folder, task)
        if record.status.is_terminal:
            say(f"run {record.run_id} has ended before its nodes came: {record.status.value}")
            return int(record.exit_status if record.exit_status is not None else ExitStatus.CANCELED)
        spec = from_plain(JobSpec, json.loads(folder.order.read_text("utf-8")))
        place = Place(task.nodes, 0, commands.node_address(task.node_name), 0, str(folder.key), "Slurm's job")
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
                mpirun=find_mpirun(spec),
                network=Network(address, key.hex(), certificate, private_key, start_timeout),
            )
            connection = coordinator.take_up(order, folder, lock, listener)
    view = choose_view(sys.stdout, sys.stderr, True, folder.root)
    return Viewer(folder, connection, view).run(owns_run=True)


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
    record = read_record(folder.record)
    if record.scheduler is None:
        record = replace(record, scheduler=SchedulerRecord("slurm", task.job_id))
        with changing(folder.workspace, [folder.run_id]):
            write_record(folder.record, record)
    return record


# --- the others -------------------------------------------------------------------------------------


def _other(folder: RunFolder, task: Task, key: bytes, start_timeout: float, say: Say) -> int:
    host, port = _meeting(folder, task, start_timeout)
    place = Place(task.nodes, task.rank, host, port, str(folder.key), "Slurm's job")
    connection = dial(place, key, start_timeout, say)
    return Relay(place, connection, packed_agent(folder.workspace.cache), None, say).run()


def _write_meeting(folder: RunFolder, task: Task, address: str, port: int) -> None:
    meeting = {"jobId": task.job_id, "start": task.start, "address": address, "port": port}
    replace_json(folder.meeting, meeting)


def _meeting(folder: RunFolder, task: Task, limit: float) -> tuple[str, int]:
    """Wait until node 0 of this start of the job listens; gives its address and port."""
    deadline = time.monotonic() + limit
    while True:
        found = _read_meeting(folder)
        if (found.get("jobId"), found.get("start")) == (task.job_id, task.start):
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
