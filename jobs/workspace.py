"""The workspace and its run folders: the only place that knows where each file lies."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from .dataclass import dataclass
from .errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NAME_RULE = "1 to 128 letters, digits, dots, dashes and underscores, the first a letter or a digit"


def is_name(text: str) -> bool:
    """Say whether a run or an experiment may be called this; such names are safe as folder names."""
    return _NAME.fullmatch(text) is not None


def find_workspace(named: str | None, environ: Mapping[str, str], current_folder: Path) -> Workspace:
    """Find the workspace: the flag, REGIMENT_WORKSPACE, the nearest `.regiment/` upward, else one here."""
    chosen = named or environ.get("REGIMENT_WORKSPACE")
    if chosen:
        return Workspace(current_folder / chosen)
    for folder in (current_folder, *current_folder.parents):
        if (folder / ".regiment").is_dir():
            return Workspace(folder / ".regiment")
    return Workspace(current_folder / ".regiment")


@dataclass(frozen=True)
class Workspace:
    """The folder with all runs."""

    root: Path

    @property
    def runs(self) -> Path:
        """One folder a run."""
        return self.root / "runs"

    @property
    def store(self) -> Path:
        """Contents of snapshots by hash, shared by all runs."""
        return self.root / "snapshots"

    @property
    def data_assets(self) -> Path:
        """Named data: a folder a name, a file a version."""
        return self.root / "data"

    @property
    def computes(self) -> Path:
        """Named compute targets, one file each."""
        return self.root / "compute"

    @property
    def cache(self) -> Path:
        """What can be made again: the packed agent."""
        return self.root / "cache"

    @property
    def archived_experiments(self) -> Path:
        """An empty file for each experiment that lists leave out, called like it."""
        return self.root / "archived-experiments"

    @property
    def away(self) -> Path:
        """An empty file for each run that goes on on a host that has to be asked about it, called like it."""
        return self.root / "away"

    @property
    def changes(self) -> Path:
        """Which runs' records have changed, a line each time."""
        return self.root / "changes.log"

    def run(self, run_id: str) -> RunFolder:
        """Give the folder of one run, which need not exist yet."""
        if not is_name(run_id):
            raise UserError(f"{run_id!r} is not a run id; a run id is {NAME_RULE}")
        return RunFolder(self.runs / run_id, self.root / "scratch" / run_id)

    def existing_run(self, run_id: str) -> RunFolder:
        """Give the folder of a run that must be there."""
        folder = self.run(run_id)
        if not folder.record.is_file():
            raise UserError(f"there is no run {run_id!r} in {self.root}; 'regiment list' shows the runs it has")
        return folder

    def all_runs(self) -> Iterator[RunFolder]:
        """Give every run folder, in no particular order."""
        if not self.runs.is_dir():
            return
        with os.scandir(self.runs) as entries:
            names = [entry.name for entry in entries if is_name(entry.name)]
        for name in names:
            folder = self.run(name)
            if folder.record.is_file():
                yield folder


@dataclass(frozen=True)
class RunFolder:
    """Every path of one run."""

    root: Path
    scratch: Path
    """The nodes' working copies; gone when the run has ended."""

    @property
    def run_id(self) -> str:
        """The run's id is its folder's name."""
        return self.root.name

    @property
    def job_file(self) -> Path:
        """The job as submitted."""
        return self.root / "job.yml"

    @property
    def plan(self) -> Path:
        """What was planned, with real addresses and ports; secrets masked."""
        return self.root / "plan.json"

    @property
    def record(self) -> Path:
        """The record."""
        return self.root / "run.json"

    @property
    def lock(self) -> Path:
        """What whoever writes the record holds locked."""
        return self.root / "record.lock"

    @property
    def order(self) -> Path:
        """What node 0 is to make of it, for a run that nobody waits for there; secrets are in it, so mode 0600."""
        return self.root / "order.json"

    @property
    def key(self) -> Path:
        """The run's key, where its nodes share this folder; mode 0600."""
        return self.root / "run.key"

    @property
    def meeting(self) -> Path:
        """Where node 0 listens, for the others to read."""
        return self.root / "meeting.json"

    @property
    def batch_script(self) -> Path:
        """What was submitted to Slurm."""
        return self.root / "slurm.sh"

    @property
    def batch_log(self) -> Path:
        """What Slurm's srun and the agents it started had to say."""
        return self.own_logs / "slurm.log"

    @property
    def workspace(self) -> Workspace:
        """The workspace it is in."""
        return Workspace(self.root.parent.parent)

    @property
    def events(self) -> Path:
        """What happened, one JSON object a line; only ever appended to."""
        return self.root / "events.jsonl"

    @property
    def report(self) -> Path:
        """Why the run did not complete, for people."""
        return self.root / "report.md"

    @property
    def report_data(self) -> Path:
        """The same for programs."""
        return self.root / "report.json"

    @property
    def code(self) -> Path:
        """The snapshot."""
        return self.root / "code"

    @property
    def outputs(self) -> Path:
        """What the job wrote to ./outputs, from all nodes."""
        return self.root / "outputs"

    @property
    def logs(self) -> Path:
        """What the job wrote to ./logs, from all nodes."""
        return self.root / "logs"

    @property
    def own_logs(self) -> Path:
        """Our own logs: the coordinator's, preparation, release."""
        return self.logs / "azureml"

    @property
    def spec(self) -> Path:
        """The job as it was understood, flags and defaults in it, secrets masked."""
        return self.root / "spec.json"

    @property
    def git_diff(self) -> Path:
        """How the code differed from its commit, where it did."""
        return self.root / "git.diff"

    @property
    def packages(self) -> Path:
        """What the job's Python had installed."""
        return self.root / "packages.json"

    @property
    def uploads(self) -> Path:
        """What was uploaded under names that are neither below outputs/ nor logs/."""
        return self.root / "artifacts"

    @property
    def metrics(self) -> Path:
        """What the run's processes logged, one file a process."""
        return self.root / "metrics"

    @property
    def requests(self) -> Path:
        """What others (cancel, tag) ask of the coordinator, one file a request."""
        return self.root / "requests"

    def mark(self, token: str) -> Path:
        """Give the file in which nodes find the token if they see this folder.

        It has a new name each time, so that no cache of names remembers it as missing.
        """
        return self.root / f".shared-{token}"

    @property
    def attempt_logs_link(self) -> Path:
        """The link to the newest attempt's logs."""
        return self.root / "azureml-logs"

    def attempt(self, attempt: int) -> Path:
        """Give one attempt's folder."""
        return self.root / "attempts" / str(attempt)

    def attempt_logs(self, attempt: int) -> Path:
        """Give one attempt's logs."""
        return self.attempt(attempt) / "azureml-logs"

    def ledger(self, attempt: int) -> Path:
        """What an attempt's nodes measured of its start, a JSON object a line."""
        return self.attempt(attempt) / "ledger.jsonl"

    def brought(self, node_id: str) -> Path:
        """Give where a node other than the first brings what it wrote, until that is merged."""
        return self.root / "collected" / node_id

    def node_workspace(self, node_id: str) -> Path:
        """Give a node's own writable copy of the snapshot."""
        return self.scratch / node_id

    def node_data(self, node_id: str) -> Path:
        """Give the folder of a node's inputs and outputs."""
        return self.scratch / f"{node_id}-data"

    @property
    def fetched(self) -> Path:
        """What was downloaded once for all nodes of this machine."""
        return self.scratch / "fetched"


def node_log_prefix(node_id: str, node_count: int) -> str:
    """Give the subfolder of a node's logs, with its slash; empty where there is just one node."""
    return "" if node_count == 1 else f"{node_id}/"


def driver_log_name(rank: int, world_size: int) -> str:
    """Give the name of a process's log, as Azure ML names it."""
    return "70_driver_log.txt" if world_size == 1 else f"70_driver_log_{rank}.txt"
