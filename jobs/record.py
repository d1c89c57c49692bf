"""The record of a run: what `run.json` and the `process_status.json` files say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

from .dataclass import dataclass, field
from .errors import UserError
from .files import replace_pieces
from .plain import PlainError, from_plain, to_plain
from .rows import with_rows
from .status import RunStatus as RunStatus

SCHEMA = 2
"""Version of `run.json`; what was written by earlier ones is read all the same."""


class ProcessStatus(Enum):
    """Where a process of the job is in its life."""

    NOT_STARTED = "NotStarted"
    """It has not been started."""
    RUNNING = "Running"
    """It runs."""
    COMPLETED = "Completed"
    """It ended by itself with exit code 0."""
    FAILED = "Failed"
    """It ended by itself otherwise."""
    STOPPED = "Stopped"
    """We ended it because another one failed."""
    CANCELED = "Canceled"
    """We ended it because the run was cancelled."""
    LOST = "Lost"
    """Its node was lost; nobody saw its end."""

    __hash__ = object.__hash__  # Enum's own is written in Python, and processes are counted by their status.

    @property
    def has_ended(self) -> bool:
        """Say whether the process is over."""
        return self not in (ProcessStatus.NOT_STARTED, ProcessStatus.RUNNING)


@dataclass(frozen=True)
class Owner:
    """One process of one boot of one machine; a later process with the same pid is not it."""

    pid: int
    start_ticks: int
    """Its start time in clock ticks since boot, field 22 of /proc/PID/stat."""
    boot_id: str
    host: str


@dataclass(frozen=True)
class CoordinatorRecord:
    """The process that decides for the run, and where it listens."""

    pid: int
    start_ticks: int
    boot_id: str
    host: str
    socket: str | None = None
    """Path of its Unix socket, or None before it listens."""

    @property
    def owner(self) -> Owner:
        """The process behind it."""
        return Owner(self.pid, self.start_ticks, self.boot_id, self.host)


@dataclass(frozen=True)
class SchedulerRecord:
    """The job of a scheduler that a run is."""

    kind: str
    """`slurm` where the job is the run's own; `allocation` where the run is one of the steps of somebody's job."""
    job_id: str
    requeues: int = 0
    """How often we have had it queue the job again."""
    excluded: tuple[str, ...] = ()
    """The hosts that failed then, and that the job does without since."""


@dataclass(frozen=True)
class AwayRecord:
    """The host that has a run's coordinator and its folder, where that is not the machine that submitted it."""

    host: str
    """As ssh knows it; it is the run's node 0."""
    python: str
    """The Python there."""
    agent: str
    """The packed agent's name in the workspace's cache: the one that the run was started with."""
    token: str
    """What the run is called there, beside runs of the same name from other workspaces."""
    is_brought: bool = False
    """Whether the run has ended and all of it is here, and nothing there any more."""


@dataclass(frozen=True)
class NodeRecord:
    """One node of the run and the processes that keep it."""

    index: int
    node_id: str
    state: str
    host: str | None = None
    ip: str | None = None
    agent_pid: int | None = None
    keeper_pid: int | None = None
    socket: str | None = None


@dataclass(frozen=True)
class RunError:
    """Why a run did not complete, and who is to blame."""

    message: str
    """One sentence: which rank on which node failed first, and how."""
    rank: int | None = None
    node_id: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    log: str | None = None
    """The log with the reason in it, relative to the run folder."""
    tail: tuple[str, ...] = ()
    """Its last lines."""
    followed: tuple[str, ...] = ()
    """What the other processes did, a sentence each."""
    code: str | None = None
    """The `error_code` that somebody gave when he called the run a failure."""
    kind: str | None = None
    """What kind of cause it is: a `CauseClass` of distribution/causes.py."""
    details: tuple[str, ...] = ()
    """What is known besides, a sentence each: the exception, memory that ran out, the core file."""
    report: str | None = None
    """The file of the run folder that tells all of it."""


class RunType(Enum):
    """What kind of run it is."""

    COMMAND = "command"
    """Processes that a coordinator started."""
    INTERACTIVE = "interactive"
    """Kept by Python code: `start_logging`, `child_run`, `create_children`."""


@dataclass(frozen=True)
class RunRecord:
    """A run, as `run.json` keeps it."""

    run_id: str
    experiment_name: str
    status: RunStatus
    created_utc: str
    command: str
    target: str
    distribution: str
    instance_count: int
    process_count: int
    attached: bool
    schema: int = SCHEMA
    type: RunType = RunType.COMMAND
    parent_run_id: str | None = None
    root_run_id: str | None = None
    """The run at the top of the tree it is in; None for one that has no parent."""
    archived: bool = False
    """Whether lists leave it out."""
    display_name: str | None = None
    description: str | None = None
    tags: Mapping[str, str | None] = field(default_factory=dict)
    properties: Mapping[str, str | None] = field(default_factory=dict)
    attempt: int = 0
    preempting: str | None = None
    """Who got notice that the scheduler will take the nodes away, once somebody has."""
    start_time_utc: str | None = None
    end_time_utc: str | None = None
    elapsed_seconds: float | None = None
    exit_status: int | None = None
    """What `regiment wait` ends with, once the run is over."""
    job_exit_code: int | None = None
    """The exit code of the process that failed first (128 + signal number), for --pass-exit-code."""
    error: RunError | None = None
    warnings: tuple[str, ...] = ()
    submitted_by: str | None = None
    coordinator: CoordinatorRecord | None = None
    owner: Owner | None = None
    """The process that keeps a run which has no coordinator."""
    scheduler: SchedulerRecord | None = None
    """Where its nodes come from, if a scheduler gives them."""
    away: AwayRecord | None = None
    """Where its coordinator is, if ssh is the only way there; what else is written here is as it was last heard."""
    nodes: tuple[NodeRecord, ...] = ()
    source_directory: str | None = None
    """The folder the code was taken from, as it was given."""
    script: str | None = None
    """The program of a run that was submitted as a script with arguments."""
    arguments: tuple[str, ...] = ()
    environment_names: tuple[str, ...] = ()
    """The variables that the job was given; never their values."""

    @property
    def is_over(self) -> bool:
        """Say whether it has ended, or nobody is left who could tell how: its scheduler has nothing of it any more."""
        return self.status.is_terminal or (self.scheduler is not None and self.exit_status is not None)


def utc_text(seconds: float) -> str:
    """Give a Unix time as Azure ML's records have it: `2021-06-23T13:08:03.554571Z`."""
    second, microsecond = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_utc_second(second)}.{microsecond:06}Z"


@lru_cache(maxsize=16)
def _utc_second(second: int) -> str:
    """Give a whole second's text; in a run with ten thousands of processes each is asked for by many."""
    return datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


def write_record(path: Path, record: RunRecord) -> None:
    """Replace `run.json` atomically."""
    data = to_plain(record)
    nodes = data.pop("nodes")
    replace_pieces(path, with_rows(data, {"nodes": map(json.dumps, nodes)}))


def read_record(path: Path) -> RunRecord:
    """Read `run.json`; a damaged one is a UserError that names it."""
    try:
        return record_from(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, PlainError) as error:
        raise UserError(unreadable(path, error)) from None


def unreadable(path: Path, error: Exception) -> str:
    """Say that a record cannot be read."""
    return f"{path} cannot be read as a run's record: {error}; the run's other files are untouched"


def record_from(data: Any) -> RunRecord:
    """Make a record of plain data in any version since the first; raises PlainError."""
    return from_plain(RunRecord, migrated(data))


def migrated(data: Any) -> dict[str, Any]:
    """Give a record's plain data in any version as that of this one, otherwise unchecked; raises PlainError."""
    if not isinstance(data, dict):
        raise PlainError(f"expected an object, not {type(data).__name__}")
    found: dict[str, Any] = data
    while found.get("schema") in _MIGRATIONS:
        found = _MIGRATIONS[found["schema"]](found)
    schema = found.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise PlainError(f"its schema {schema} is newer than this Regiment, which knows {SCHEMA}; upgrade it")
    return found


def _from_1(data: dict[str, Any]) -> dict[str, Any]:
    """Nothing had a parent then, and every run had processes."""
    return {**data, "schema": 2, "type": RunType.COMMAND.value}


_MIGRATIONS: Mapping[Any, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
