"""`regiment run` inside a job of Slurm's that is there already: one `srun` starts the run's nodes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable

from regiment.distribution.slurm.allocation import Allocation, starting_command
from regiment.distribution.slurm.container import contained
from regiment.jobs.changes import changing
from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus, NodeError
from regiment.jobs.lock import try_lock
from regiment.jobs.record import RunError, RunRecord, RunStatus, read_record, write_record
from regiment.jobs.requests import Cancel
from regiment.jobs.spec import JobSpec
from regiment.jobs.workspace import RunFolder, Workspace

from ..runs import ask
from ..view import View
from .following import FolderFollower, lost
from .submission import agent_command, mounts_of, take_allocation

_CHECK = 0.5
"""Seconds between two looks at whether srun has ended."""


class Attached:
    """A run on nodes that were there before, and a person (or a script) who waits for it: they end together."""

    def __init__(self, folder: RunFolder, starter: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._starter = starter
        self._signal: signal.Signals | None = None
        self._told = 0

    def show(self, view: View) -> int:
        """Show the run to its end; gives the exit status.

        Raises:
            NodeError: It ended without a verdict of its own.
        """
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            # A notice that the nodes will be taken away; srun passes it on to them.
            signal.signal(number, lambda number, _: self._starter.send_signal(number))
        follower = FolderFollower(self.folder, view, self._heard, read=self._read, check=_CHECK)
        try:
            status = follower.run()
            if status is not None:
                self._starter.wait()
        finally:
            if self._starter.poll() is None:
                self._starter.terminate()
        if self._signal is not None and status in (None, ExitStatus.CANCELED):
            return 128 + self._signal
        assert status is not None
        return status

    def _heard(self, number: signal.Signals) -> bool:
        """End the run, and say whether not to wait for that any longer."""
        self._signal = self._signal or number
        self._told += 1
        if self._told > 2:
            return True
        name = "Ctrl-C" if number is signal.SIGINT else number.name
        ask(self.folder, Cancel(f"cancelled by {name}", self._told > 1))
        if read_record(self.folder.record).coordinator is None:
            self._starter.terminate()  # It may wait for nodes still.
        return False

    def _read(self) -> RunRecord:
        """Give the run's record; where its nodes have ended without a verdict, write that down and raise it."""
        record = read_record(self.folder.record)
        status = self._starter.poll()
        if record.status.is_terminal or status is None:
            return record
        lock = try_lock(self.folder.lock)
        if lock is None:
            return record  # Its coordinator is just writing it.
        with lock, changing(self.folder.workspace, [self.folder.run_id]):
            record = read_record(self.folder.record)
            if not record.status.is_terminal:
                log = self.folder.batch_log.relative_to(self.folder.root)
                text = f"its nodes ended (with status {status}), and nothing says how the run did; see {log}"
                error, failed = RunError(text, log=str(log)), int(ExitStatus.NODE_ERROR)
                record = replace(record, status=RunStatus.FAILED, error=error, exit_status=failed)
                write_record(self.folder.record, record)
                raise lost(record)
        return record


def start_in(
    allocation: Allocation, spec: JobSpec, job_text: str, workspace: Workspace, starter: str, say: Callable[[str], None]
) -> Attached:
    """Make a run and start its nodes in an allocation; `say` gets what there is to say about it.

    Raises:
        RegimentError: It cannot be made; then there is no such run.
    """
    if shutil.which(starter) is None:
        raise NodeError(f"there is no {starter} in PATH to start the nodes with; load Slurm's module, or extend PATH")
    made = take_allocation(spec, job_text, workspace, allocation.job_id)
    folder = made.folder
    is_elastic = spec.options.min_nodes is not None
    has_gpus = any(name.startswith(("SLURM_GPUS", "SLURM_JOB_GPUS")) for name in os.environ)
    flags, agent = contained(spec.options.container, mounts_of(spec, folder), has_gpus, agent_command(folder))
    argv = starting_command(starter, spec.instance_count, is_elastic, agent, flags)
    for note in made.notes:
        say(note)
    say(f"run {folder.run_id} starts on {spec.instance_count} nodes of Slurm's job {allocation.job_id}")
    with folder.batch_log.open("ab") as log:
        # Out of reach of Ctrl-C, which is for us: srun would kill the run at once. It ends with us all the same, for
        # node 0 reads from us.
        process = subprocess.Popen(
            argv,
            cwd=folder.own_logs,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Attached(folder, process)
