"""The run of a process that belongs to none: it prints what it is told, and keeps it while the process lives."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from regiment.jobs.dataclass import replace
from regiment.jobs.edits import apply_edit
from regiment.jobs.errors import UserError
from regiment.jobs.plain import to_plain
from regiment.jobs.record import RunRecord, RunType, utc_text
from regiment.jobs.status import RunStatus

from ..operations import AwaitEnd, CreateRuns, DescribeRun, EditRun, FindRuns, ReadMetrics, ReadRun, Request
from .marks import checked_mark
from .run import Run
from .workspace import Workspace

_EXPERIMENT = "offline"


class OfflineRun(Run):
    """What `Run.get_context()` gives outside of a job; `id` begins with `OfflineRun`."""

    def mark(self, name: str) -> None:
        """Print it."""
        print(f"Attempted to mark {checked_mark(name)}")

    def upload_file(self, name: str, path_or_stream: str | Path, datastore_name: str | None = None) -> None:
        """Leave the file where it is."""
        print(f"Attempted to upload {path_or_stream} as {name}")

    def upload_folder(self, name: str, path: str | Path) -> None:
        """Leave the folder where it is."""
        print(f"Attempted to upload {path} as {name}")


def offline_run() -> OfflineRun:
    """Make one."""
    memory = Memory()
    run_id = f"OfflineRun_{uuid.uuid4()}"
    memory.add(run_id, None, {})
    run = OfflineRun._of(Workspace._through(memory, _EXPERIMENT), run_id)
    assert isinstance(run, OfflineRun)
    return run


class Memory:
    """Records that nobody else sees."""

    workspace = "this process"

    def __init__(self) -> None:
        self._records: dict[str, RunRecord] = {}
        self._metrics: dict[str, _Printed] = {}

    def add(self, run_id: str, parent: str | None, tags: Mapping[str, str | None]) -> str:
        """Make a run."""
        self._records[run_id] = RunRecord(
            run_id=run_id,
            experiment_name=_EXPERIMENT,
            type=RunType.INTERACTIVE,
            parent_run_id=parent,
            status=RunStatus.RUNNING,
            created_utc=utc_text(time.time()),
            command="",
            target="local",
            distribution="none",
            instance_count=1,
            process_count=1,
            attached=False,
            tags=dict(tags),
        )
        return run_id

    def metrics(self, run_id: str, folder: Callable[[], Path]) -> _Printed:
        """Give what prints and keeps a run's metrics."""
        return self._metrics.setdefault(run_id, _Printed())

    def ask(self, request: Request) -> Any:
        """Perform one operation."""
        match request:
            case ReadRun(run_id) | AwaitEnd(run_id):
                return self._found(run_id)
            case DescribeRun(run_id):
                record = self._records[run_id]
                return {"runId": run_id, "status": record.status.value, "tags": dict(record.tags)}
            case EditRun(run_id, edit):
                self._records[run_id] = apply_edit(self._records[run_id], edit, utc_text(time.time()))
                return None
            case CreateRuns(_, parent, new):
                ids = [each.run_id or f"OfflineRun_{uuid.uuid4()}" for each in new]
                return [self._found(self.add(i, parent, each.tags)) for i, each in zip(ids, new, strict=True)]
            case FindRuns(wanted):
                ids = [
                    r.run_id for r in self._records.values() if self._is_below(r, wanted.ancestor) and wanted.admits(r)
                ]
                return [self._found(run_id) for run_id in reversed(ids)]
            case ReadMetrics(run_id):
                return self._metrics.setdefault(run_id, _Printed()).kept
        raise UserError(
            "this process belongs to no run, so it can start none; start it with 'regiment run', or submit with "
            "Experiment(Workspace.from_config(), 'NAME').submit(...)"
        )

    def _is_below(self, record: RunRecord, ancestor: str | None) -> bool:
        parent = record.parent_run_id
        return ancestor in (None, parent) or (parent is not None and self._is_below(self._records[parent], ancestor))

    def _found(self, run_id: str) -> Any:
        if run_id not in self._records:
            raise UserError(f"there is no run {run_id!r} in this process")
        return {"folder": str(Path.cwd()), "record": to_plain(replace(self._records[run_id]))}


class _Printed:
    """Metrics that are printed, and kept in the shape of `get_metrics()`."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def log(self, name: str, value: object, description: str = "", step: float | None = None) -> None:
        """Keep one value, and print it as Azure ML does."""
        print(f"Attempted to log scalar metric {name}:\n{value}")
        known = self.kept.get(name)
        self.kept[name] = value if name not in self.kept else [*(known if isinstance(known, list) else [known]), value]

    def log_list(self, name: str, value: Any, description: str = "") -> None:
        """Keep a list."""
        print(f"Attempted to log list metric {name}:\n{value}")
        known = self.kept.get(name, [])
        self.kept[name] = [*(known if isinstance(known, list) else [known]), *value]

    def log_row(self, name: str, columns: Mapping[str, object], description: str = "") -> None:
        """Keep a row of a table."""
        print(f"Attempted to log row metric {name}:\n{dict(columns)}")
        table = self.kept.setdefault(name, {})
        for column, value in columns.items():
            table.setdefault(column, []).append(value)

    def log_table(self, name: str, columns: Mapping[str, Any], description: str = "") -> None:
        """Keep a table."""
        print(f"Attempted to log table metric {name}:\n{dict(columns)}")
        table = self.kept.setdefault(name, {})
        for column, values in columns.items():
            table.setdefault(column, []).extend(values)
