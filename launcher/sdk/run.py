"""A run, in whatever process: the one that made it, one of its job's, or any that looks at it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from regiment.jobs.edits import AddProperties, Archive, Edit, Finish, Tag, Untag
from regiment.jobs.errors import RunFailed, UserError
from regiment.jobs.record import RunRecord, RunType
from regiment.jobs.runfilter import RunFilter
from regiment.jobs.status import RunStatus

from ..operations import AwaitEnd, CreateRuns, EditRun, FindRuns, ReadMetrics, ReadRun
from ..runs import NewRun
from .files import Files
from .ledger import Found, ledger_of
from .logged import Logged

if TYPE_CHECKING:
    from .experiment import Experiment
    from .script import ScriptRunConfig
    from .workspace import Workspace

ExceptionKind = type[BaseException]
Runs = list["Run"]
_TURN = 10.0
"""Seconds that one question for a run's end may take; then it is asked again."""


class Run(Logged, Files):
    """One run, as `azureml.core.Run` has it.

    Nothing is kept here that the record has: every property is read when it is asked for, so any number of processes,
    forked ones too, may use a run at once.

    Args:
        experiment: The experiment it belongs to.
        run_id: Its id.
        outputs: Accepted for Azure ML's sake.

    Raises:
        UserError: There is no such run in the workspace, or it belongs to another experiment.
    """

    def __init__(self, experiment: Experiment, run_id: str, outputs: object = None) -> None:
        self._workspace = experiment.workspace
        self._id = run_id
        self._folder = self._writer = None
        found = self._found().record.experiment_name
        if found != experiment.name:
            raise UserError(f"run {run_id!r} belongs to the experiment {found!r}, not to {experiment.name!r}")

    @classmethod
    def _of(cls, workspace: Workspace, run_id: str, folder: Path | None = None) -> Run:
        run = cls.__new__(cls)
        run._workspace, run._id, run._folder, run._writer = workspace, run_id, folder, None
        return run

    @staticmethod
    def get_context(allow_offline: bool = True, used_for_context_manager: bool = False) -> Run:
        """Give the run that this process belongs to.

        Outside of a job it is an offline run: it prints what it is told and keeps it while the process lives.

        Args:
            allow_offline: Whether it may be one.
            used_for_context_manager: Accepted for Azure ML's sake; a job's own run ends with its processes.

        Raises:
            UserError: This process is none of a job's, and `allow_offline` is False.
        """
        from .offline import offline_run
        from .workspace import Workspace

        ledger = ledger_of(os.environ)
        if ledger is not None:
            return SubmittedRun._of(Workspace._through(ledger, ".regiment"), os.environ["REGIMENT_RUN_ID"])
        if not allow_offline:
            raise UserError(
                "this process belongs to no run; start it with 'regiment run', or leave allow_offline alone"
            )
        return offline_run()

    @staticmethod
    def get(workspace: Workspace, run_id: str) -> Run:
        """Give the run of that id; raises UserError where there is none."""
        return found_run(workspace, run_id)

    @staticmethod
    def list(
        experiment: Experiment,
        type: str | None = None,  # noqa: A002  (Azure ML calls it so)
        tags: str | Mapping[str, str] | None = None,
        properties: str | Mapping[str, str] | None = None,
        status: str | None = None,
        include_children: bool = False,
    ) -> Iterator[Run]:
        """Give an experiment's runs, the newest first; see `Experiment.get_runs`."""
        for run in experiment.get_runs(type, tags, properties, include_children):
            if status is None or run.status == status:
                yield run

    # --- what it is -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What people call it: its display name, or its id."""
        return self._record.display_name or self._id

    @property
    def display_name(self) -> str | None:
        """Its display name."""
        return self._record.display_name

    @property
    def description(self) -> str | None:
        """Its description."""
        return self._record.description

    @property
    def type(self) -> str:
        """`command` for a run that was submitted, `interactive` for one of a process's own."""
        return self._record.type.value

    @property
    def experiment(self) -> Experiment:
        """The experiment it belongs to."""
        from .experiment import Experiment

        return Experiment(self._workspace, self._record.experiment_name)

    @property
    def parent(self) -> Run | None:
        """The run it is a child of, or None."""
        parent = self._record.parent_run_id
        return None if parent is None else found_run(self._workspace, parent)

    @property
    def status(self) -> str:
        """Its status now; see `get_status`."""
        return self.get_status()

    @property
    def tags(self) -> dict[str, str | None]:
        """Its tags; a plain word is a tag without a value."""
        return dict(self._record.tags)

    @property
    def properties(self) -> dict[str, str | None]:
        """Its properties, which never change once they are there."""
        return dict(self._record.properties)

    def get_status(self) -> str:
        """Give its status, such as Preparing, Running, CancelRequested, Completed, Failed or Canceled."""
        return self._record.status.value

    def get_details(self) -> dict[str, Any]:
        """Give everything about the run, in the shape of Azure ML's document, with what only Regiment knows added."""
        return self._describe()

    def get_portal_url(self) -> str:
        """Give a URL to look at the run with: its folder's."""
        return self._found().folder.as_uri()

    def get_tags(self) -> dict[str, str | None]:
        """Give its tags."""
        return self.tags

    def get_properties(self) -> dict[str, str | None]:
        """Give its properties."""
        return self.properties

    # --- how it ends ----------------------------------------------------------------------------------

    def complete(self, _set_status: bool = True) -> None:
        """Say that the run has done its work. For a job's own run its processes' ends say it, and this does nothing.

        Raises:
            UserError: It has ended another way, or processes of its own still run.
        """
        self._edit(Finish(RunStatus.COMPLETED))

    def fail(
        self, error_details: str | BaseException | None = None, error_code: str | None = None, _set_status: bool = True
    ) -> None:
        """Say that the run has failed, whatever its processes say; what still runs of it is stopped first.

        Args:
            error_details: Why; an exception gives its type and message.
            error_code: A word for programs.
        """
        if isinstance(error_details, BaseException):
            error_details = f"{type(error_details).__name__}: {error_details}"
        self._edit(Finish(RunStatus.FAILED, error_details, error_code))
        self._wait()

    def cancel(self) -> None:
        """Stop the run. One that has ended stays as it is."""
        if not RunStatus(self.get_status()).is_terminal:
            self._edit(Finish(RunStatus.CANCELED))

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> dict[str, Any]:
        """Wait until the run has ended.

        Args:
            show_output: Print what the run's first process prints, as Azure ML streams it; Ctrl-C ends the printing
                and leaves the run as it is.
            wait_post_processing: Accepted for Azure ML's sake; a run has ended when nothing of it is left to do.
            raise_on_error: Whether to raise where the run does not complete.

        Returns:
            The document of `get_details()`.

        Raises:
            RunFailed: The run has failed or was cancelled.
        """
        if show_output:
            from .streaming import stream

            stream(self._id, self.get_portal_url(), self._next)
        record = self._wait()
        if raise_on_error and record.status is not RunStatus.COMPLETED:
            why = f": {record.error.message}" if record.error else ""
            raise RunFailed(f"run {self._id} is {record.status.value}{why}; 'regiment show {self._id}' has the record")
        return self.get_details()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: ExceptionKind | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Complete the run, fail it with the exception, or cancel it where that is Ctrl-C; one that has ended stays."""
        if RunStatus(self.get_status()).is_terminal:
            return
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self.complete()
        elif isinstance(error, KeyboardInterrupt):
            self.cancel()
        else:
            self.fail(error)

    # --- what is written down about it ----------------------------------------------------------------

    def tag(self, key: str, value: object = None) -> None:
        """Set a tag, with a value or as a plain word; one that is there gets the new value."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set several tags at once."""
        self._edit(Tag(text_map("a tag", tags)))

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Remove tags; those that are not there don't matter."""
        self._edit(Untag(tuple(tags)))

    def add_properties(self, properties: Mapping[str, object]) -> None:
        """Add properties.

        Raises:
            UserError: One is there with another value: properties never change.
        """
        self._edit(AddProperties(text_map("a property", properties)))

    def archive(self) -> None:
        """Hide the run from lists."""
        self._edit(Archive(True))

    def restore(self) -> None:
        """Show an archived run again."""
        self._edit(Archive(False))

    # --- children -------------------------------------------------------------------------------------

    def child_run(
        self,
        name: str | None = None,
        run_id: str | None = None,
        outputs: object = None,
        tags: Mapping[str, object] | None = None,
    ) -> Run:
        """Start an interactive run as a child of this one; a `with` block completes it.

        Args:
            name: What people call it.
            run_id: Its id (default: a made one).
            outputs: Accepted for Azure ML's sake.
            tags: Its tags.
        """
        (child,) = self._create((NewRun(run_id, name, text_map("a tag", tags)),))
        return child

    def create_children(
        self, count: int | None = None, tag_key: str | None = None, tag_values: Sequence[object] | None = None
    ) -> Runs:
        """Start several children in one write; the caller completes each.

        Args:
            count: How many; may be left out where there are `tag_values`.
            tag_key: A tag that each child gets.
            tag_values: Its value for each child.

        Raises:
            UserError: The counts don't agree, or only one of key and values is given.
        """
        if (tag_key is None) != (tag_values is None):
            raise UserError("create_children takes tag_key and tag_values together; give both or neither")
        if count is None and tag_values is None:
            raise UserError("create_children needs a count, or a tag_key with tag_values")
        values: Sequence[object] = tag_values if tag_values is not None else [None] * (count or 0)
        if count is not None and count != len(values):
            raise UserError(f"create_children got count={count} and {len(values)} tag_values; leave count out")
        tags = [{} if tag_key is None else text_map("a tag", {tag_key: value}) for value in values]
        return self._create(tuple(NewRun(tags=each) for each in tags))

    def submit_child(
        self, config: ScriptRunConfig, tags: Mapping[str, str | None] | None = None, **kwargs: Any
    ) -> ScriptRun:
        """Start a script as a child of this run. It goes on by itself, also when this run has ended.

        The arguments and errors are those of `Experiment.submit`.
        """
        from .experiment import submitted

        return submitted(self._workspace, self._record.experiment_name, config, tags, kwargs, self._id)

    def get_children(
        self,
        recursive: bool = False,
        tags: str | Mapping[str, str] | None = None,
        properties: str | Mapping[str, str] | None = None,
        type: str | None = None,  # noqa: A002  (Azure ML calls it so)
        status: str | None = None,
        _rehydrate_runs: bool = True,
    ) -> Iterator[Run]:
        """Give the run's children, the newest first.

        Args:
            recursive: Whether to give their children too, and so on.
            tags: Only those that have this tag, or these with these values.
            properties: The same for properties.
            type: Only those of that type.
            status: Only those with that status.
        """
        wanted = RunFilter(
            parent=None if recursive else self._id,
            ancestor=self._id if recursive else None,
            archived=None,
            **chosen(tags, properties, type, status),
        )
        for answer in self._workspace._ledger.ask(FindRuns(wanted)):
            yield run_of(self._workspace, answer)

    # --- metrics --------------------------------------------------------------------------------------

    def get_metrics(
        self, name: str | None = None, recursive: bool = False, run_type: str | None = None, populate: bool = False
    ) -> dict[str, Any]:
        """Give the metrics in order of logging: a single value as it is, several as a list, a table as its columns.

        Args:
            name: Only the metric of that name.
            recursive: Give those of this run and of all below it, by run id.
            run_type: With `recursive`, only runs of that type.
            populate: Accepted for Azure ML's sake.
        """
        if not recursive:
            return self._metrics_of(self._id, name)
        runs = [self, *self.get_children(recursive=True, type=run_type)]
        return {run.id: self._metrics_of(run.id, name) for run in runs}

    def _metrics_of(self, run_id: str, name: str | None) -> dict[str, Any]:
        metrics: dict[str, Any] = self._workspace._ledger.ask(ReadMetrics(run_id))
        return metrics if name is None else {key: value for key, value in metrics.items() if key == name}

    # --- how it is done -------------------------------------------------------------------------------

    def _next(self, seconds: float) -> Found:
        return Found(self._workspace._ledger.ask(AwaitEnd(self._id, seconds)))

    def _wait(self) -> RunRecord:
        while True:
            record = self._next(_TURN).record
            if record.is_over:
                return record

    def _edit(self, edit: Edit) -> None:
        self._workspace._ledger.ask(EditRun(self._id, edit))

    def _create(self, new: tuple[NewRun, ...]) -> Runs:
        answers = self._workspace._ledger.ask(CreateRuns(self._record.experiment_name, self._id, new))
        return [run_of(self._workspace, answer) for answer in answers]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(Id: {self._id})"


class ScriptRun(Run):
    """A run that was submitted."""


class SubmittedRun(Run):
    """The run that this process belongs to."""

    def complete(self, _set_status: bool = True) -> None:
        """Do nothing: the run is complete when each of its processes has ended with exit code 0."""

    def __exit__(self, kind: ExceptionKind | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Do nothing: an exception that nobody catches fails the process, and so the run."""


def found_run(workspace: Workspace, run_id: str) -> Run:
    """Give the run of that id; raises UserError where there is none."""
    return run_of(workspace, workspace._ledger.ask(ReadRun(run_id)))


def run_of(workspace: Workspace, answer: Mapping[str, Any]) -> Run:
    """Make the object for a run that an operation has answered with."""
    found = Found(answer)
    kind = Run if found.record.type is RunType.INTERACTIVE else ScriptRun
    return kind._of(workspace, found.record.run_id, found.folder)


def chosen(
    tags: str | Mapping[str, str] | None,
    properties: str | Mapping[str, str] | None,
    run_type: str | None = None,
    status: str | None = None,
) -> dict[str, Any]:
    """Give what is looked for as a `RunFilter` has it: a text names what has to be there, a mapping has values too.

    Raises:
        UserError: There is no such type or status.
    """
    return {
        "tags": _named("a tag", tags),
        "properties": _named("a property", properties),
        "type": None if run_type is None else _member(RunType, "type", run_type).value,
        "status": None if status is None else _member(RunStatus, "status", status),
    }


def _named(what: str, given: str | Mapping[str, str] | None) -> dict[str, str | None]:
    return {given: None} if isinstance(given, str) else text_map(what, given)


E = TypeVar("E", bound=Enum)


def _member(kind: type[E], what: str, given: str) -> E:
    for member in kind:
        if str(member.value).lower() == given.lower():
            return member
    raise UserError(f"{given!r} is no {what} of a run; there are {', '.join(str(member.value) for member in kind)}")


def text_map(what: str, given: Mapping[str, object] | None) -> dict[str, str | None]:
    """Give tags or properties as text; raises UserError where a name is none."""
    names: Sequence[object] = tuple(given or ())
    for name in names:
        if not isinstance(name, str) or not name:
            raise UserError(f"{name!r} cannot name {what}; a name is text")
    return {name: None if value is None else str(value) for name, value in (given or {}).items()}
