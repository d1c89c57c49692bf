"""The way to the record: in place, or through the agent where this process is one of a job's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakValueDictionary

from regiment.jobs.metrics import MetricWriter
from regiment.jobs.plain import from_plain, to_plain
from regiment.jobs.record import RunRecord
from regiment.jobs.workspace import Workspace as WorkspaceFolder

from ..node.inside import agent_of
from ..operations import Asker, Request, Submit
from ..runs import this_process
from .asking import ask_agent


class Ledger(Protocol):
    """Performs the operations of `launcher/operations.py`; answers are plain data."""

    @property
    def workspace(self) -> str:
        """The workspace, as people know it."""

    def ask(self, request: Request) -> Any:
        """Perform one operation; raises RegimentError with a sentence where it cannot be done."""

    def metrics(self, run_id: str, folder: Callable[[], Path]) -> Metrics:
        """Give what takes a run's metrics; `folder` finds out where the run's folder is."""


class Metrics(Protocol):
    """Takes what a process logs."""

    def log(self, name: str, value: object, description: str = "", step: float | None = None) -> None:
        """Take one value."""

    def log_list(self, name: str, values: object, description: str = "") -> None:
        """Take a list."""

    def log_row(self, name: str, columns: Mapping[str, object], description: str = "") -> None:
        """Take a row."""

    def log_table(self, name: str, columns: Mapping[str, object], description: str = "") -> None:
        """Take a table."""


class _Writer(MetricWriter):
    """One that gives its file back when nothing stands for its run any more: there may be thousands of them."""

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # By a name of its own: at the interpreter's end the module's may be gone.
        if self._fd >= 0:
            close(self._fd)


_writers: WeakValueDictionary[str, MetricWriter] = WeakValueDictionary()
"""One for each run that this process logs to, however many objects stand for it, as long as one does: it has a file."""
_of_the_job: list[MetricWriter] = []
"""The one of the job's own run stays: `Run.get_context()` may be asked for each value anew."""


def _writer(folder: Path) -> MetricWriter:
    name = str(folder)
    found = _writers.get(name)
    if found is None:
        made = _Writer(folder, os.environ.get("AZUREML_PROCESS_NAME", "main"))
        found = _writers.setdefault(name, made)
    return found


class InPlace:
    """For a process that sees the workspace."""

    def __init__(self, folder: WorkspaceFolder) -> None:
        self.folder = folder

    @property
    def workspace(self) -> str:
        """The workspace's folder."""
        return str(self.folder.root)

    def ask(self, request: Request) -> Any:
        """Perform one operation, in the name of whatever process this is now: it may have been forked."""
        return to_plain(Asker(self.folder, self._submit, this_process()).perform(request))

    def metrics(self, run_id: str, folder: Callable[[], Path]) -> Metrics:
        """Give a writer of this process's own."""
        return _writer(self.folder.run(run_id).root / "metrics")

    def _submit(self, request: Submit) -> Any:
        from ..submitted import take_up  # Needs all of Regiment, which a process that submits has.

        return take_up(request, self.folder)


class ThroughAgent:
    """For a process of a job."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    @property
    def workspace(self) -> str:
        """The workspace is the one that this job's run is in."""
        return f"the workspace of run {os.environ.get('REGIMENT_RUN_ID')}"

    def ask(self, request: Request) -> Any:
        """Ask the agent, and wait."""
        return ask_agent(self._socket, request)

    def metrics(self, run_id: str, folder: Callable[[], Path]) -> Metrics:
        """Give a writer of this process's own: the job's run has a folder here, and others where they can be seen."""
        own = os.environ.get("REGIMENT_METRICS")
        if own and run_id == os.environ.get("REGIMENT_RUN_ID"):
            writer = _writer(Path(own))
            if writer not in _of_the_job:
                _of_the_job.append(writer)
            return writer
        return _writer(folder() / "metrics")


def ledger_of(environ: Mapping[str, str]) -> Ledger | None:
    """Give the way to the record for a process of a job; None for any other."""
    socket = agent_of(environ)
    return None if socket is None else ThroughAgent(socket)


class Found:
    """A run as an operation answers with it."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.folder = Path(answer["folder"])
        self.record = from_plain(RunRecord, answer["record"])
