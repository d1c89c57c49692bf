"""What the Python API does with runs: one table of operations, done in place or by a run's coordinator.

A process that sees the workspace performs them itself; one inside a job asks its node's agent, which asks the run's
coordinator. Requests and answers are plain data on the way, so both come out the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from regiment.jobs.dataclass import dataclass, field
from regiment.jobs.edits import Edit
from regiment.jobs.errors import ProtocolError
from regiment.jobs.plain import PlainError, from_plain
from regiment.jobs.record import Owner, RunRecord
from regiment.jobs.registry import all_computes
from regiment.jobs.runfilter import RunFilter
from regiment.jobs.spec import JobSpec
from regiment.jobs.workspace import Workspace

from . import runs
from .details import details
from .runs import NewRun
from .waiting import wait_for_end

Tags = Mapping[str, str | None]


@dataclass(frozen=True)
class ReadRun:
    """Give a run as it is now."""

    run_id: str
    type: Literal["readRun"] = "readRun"


@dataclass(frozen=True)
class DescribeRun:
    """Give the document of `get_details()`."""

    run_id: str
    type: Literal["describeRun"] = "describeRun"


@dataclass(frozen=True)
class FindRuns:
    """Give the runs that are looked for, newest first."""

    wanted: RunFilter
    type: Literal["findRuns"] = "findRuns"


@dataclass(frozen=True)
class CreateRuns:
    """Make interactive runs, all in one write."""

    experiment: str
    parent: str | None
    wanted: tuple[NewRun, ...]
    type: Literal["createRuns"] = "createRuns"


@dataclass(frozen=True)
class EditRun:
    """Change a run's record."""

    run_id: str
    edit: Edit
    type: Literal["editRun"] = "editRun"


@dataclass(frozen=True)
class AwaitEnd:
    """Give a run once it has ended, or after that many seconds as it is then."""

    run_id: str
    seconds: float
    type: Literal["awaitEnd"] = "awaitEnd"


@dataclass(frozen=True)
class ReadMetrics:
    """Give what a run has logged, by name."""

    run_id: str
    type: Literal["readMetrics"] = "readMetrics"


@dataclass(frozen=True)
class ListComputes:
    """Give the workspace's compute targets."""

    type: Literal["listComputes"] = "listComputes"


@dataclass(frozen=True)
class ListExperiments:
    """Give the names of the workspace's experiments."""

    type: Literal["listExperiments"] = "listExperiments"


@dataclass(frozen=True)
class ArchiveExperiment:
    """Hide an experiment, or show it again."""

    name: str
    archived: bool
    type: Literal["archiveExperiment"] = "archiveExperiment"


@dataclass(frozen=True)
class SubmitJob:
    """Start a job that was read already, for `regiment run` inside a job."""

    spec: JobSpec
    text: str
    """The job file as it is kept in the run folder."""
    parent: str | None = None
    type: Literal["submitJob"] = "submitJob"


@dataclass(frozen=True)
class SubmitScript:
    """Start a script as a `ScriptRunConfig` describes it."""

    keys: Mapping[str, Any]
    """Those of a run configuration's file."""
    source_directory: str
    """Absolute."""
    experiment_name: str
    parent: str | None = None
    run_id: str | None = None
    display_name: str | None = None
    tags: Tags = field(default_factory=dict)
    properties: Tags = field(default_factory=dict)
    type: Literal["submitScript"] = "submitScript"


Submit = SubmitJob | SubmitScript
Request = (
    ReadRun
    | DescribeRun
    | FindRuns
    | CreateRuns
    | EditRun
    | AwaitEnd
    | ReadMetrics
    | ListComputes
    | ListExperiments
    | ArchiveExperiment
    | SubmitJob
    | SubmitScript
)


def read_request(data: object) -> Request:
    """Read a request that came through a socket."""
    try:
        return cast(Request, from_plain(cast(Any, Request), data))
    except PlainError as error:
        raise ProtocolError(f"a process of the job asked for something unknown: {error}") from None


@dataclass(frozen=True)
class Asker:
    """Performs requests in one workspace, in the name of one process."""

    workspace: Workspace
    submit: Callable[[Submit], Any]
    """Starts a job that somebody submits."""
    owner: Owner
    """The process whose end is the end of interactive runs that nobody completes."""

    def perform(self, request: Request) -> Any:
        """Do what is asked and give its answer, which `to_plain` can turn into plain data.

        Raises:
            RegimentError: It cannot be done, with a sentence about it.
        """
        return _OPERATIONS[type(request)](self, request)

    def _read(self, request: ReadRun) -> Any:
        folder = self.workspace.existing_run(request.run_id)
        return _found(folder.root, runs.read_run(folder))

    def _describe(self, request: DescribeRun) -> Any:
        folder = self.workspace.existing_run(request.run_id)
        return details(folder, runs.read_run(folder))

    def _find(self, request: FindRuns) -> Any:
        found = runs.find_runs(self.workspace, request.wanted)
        return [_found(self.workspace.run(record.run_id).root, record) for record in found]

    def _create(self, request: CreateRuns) -> Any:
        parent = None if request.parent is None else runs.read_run(self.workspace.existing_run(request.parent))
        folders = runs.create_runs(self.workspace, request.experiment, request.wanted, self.owner, parent)
        return [_found(folder.root, runs.read_run(folder)) for folder in folders]

    def _edit(self, request: EditRun) -> Any:
        runs.edit_run(self.workspace.existing_run(request.run_id), request.edit)

    def _await(self, request: AwaitEnd) -> Any:
        folder = self.workspace.existing_run(request.run_id)
        return _found(folder.root, wait_for_end(folder, time.monotonic() + request.seconds))

    def _metrics(self, request: ReadMetrics) -> Any:
        from regiment.jobs.metrics import read_metrics

        return read_metrics(self.workspace.existing_run(request.run_id).root / "metrics")

    def _computes(self, request: ListComputes) -> Any:
        return all_computes(self.workspace)

    def _experiments(self, request: ListExperiments) -> Any:
        return runs.all_experiments(self.workspace)

    def _archive(self, request: ArchiveExperiment) -> Any:
        change = runs.archive_experiment if request.archived else runs.restore_experiment
        change(self.workspace, request.name)

    def _submit(self, request: Submit) -> Any:
        return self.submit(request)


def _found(folder: Path, record: RunRecord) -> Mapping[str, Any]:
    return {"folder": str(folder), "record": record}


_OPERATIONS: dict[type[Any], Callable[[Asker, Any], Any]] = {
    ReadRun: Asker._read,
    DescribeRun: Asker._describe,
    FindRuns: Asker._find,
    CreateRuns: Asker._create,
    EditRun: Asker._edit,
    AwaitEnd: Asker._await,
    ReadMetrics: Asker._metrics,
    ListComputes: Asker._computes,
    ListExperiments: Asker._experiments,
    ArchiveExperiment: Asker._archive,
    SubmitJob: Asker._submit,
    SubmitScript: Asker._submit,
}
