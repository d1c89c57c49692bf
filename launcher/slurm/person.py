"""One person's `regiment run` and `logs -f` for a run on Slurm, from its login node."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from regiment.jobs.record import read_record
from regiment.jobs.requests import Cancel
from regiment.jobs.workspace import RunFolder

from ..liveness import is_over
from ..runs import ask, read_run
from ..view import View
from . import commands
from .following import FolderFollower, lost
from .waiting import wait_in_queue


class Onlooker:
    """Shows a run that goes on without anybody: whoever presses Ctrl-C is asked what he means."""

    def __init__(self, folder: RunFolder, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say

    def show(self, view: View) -> int:
        """Wait for the run's turn and show it to its end; gives the exit status."""
        record = read_record(self._folder.record)
        assert record.scheduler is not None
        follower = FolderFollower(self._folder, view, self._heard)
        try:
            wait_in_queue(self._folder, record.scheduler.job_id, self._say, lambda: False)
        except KeyboardInterrupt:
            if self._heard(signal.SIGINT):
                return 128 + signal.SIGINT
        if not self._folder.events.exists() and is_over(record := read_run(self._folder)):
            raise lost(record)
        status = follower.run()
        if follower.left is not None:
            return 128 + follower.left
        assert status is not None
        return status

    def _heard(self, number: signal.Signals) -> bool:
        """Say whether the person goes; the run stays, unless he says that it shall not."""
        if number is signal.SIGINT and sys.stdin.isatty() and self._wants_end():
            cancel(self._folder, "cancelled by Ctrl-C", force=False)
            return False
        self._say(f"run {self._folder.run_id} goes on; 'regiment cancel {self._folder.run_id}' ends it")
        return True

    def _wants_end(self) -> bool:
        print("\nregiment: cancel the run? [y/N: leave it running] ", end="", file=sys.stderr, flush=True)
        try:
            return sys.stdin.readline().strip().lower() in ("y", "yes")
        except KeyboardInterrupt:
            return False


def cancel(folder: RunFolder, reason: str, *, force: bool) -> None:
    """Ask a run to end, wherever it is: its coordinator does it, and where there is none yet, Slurm."""
    ask(folder, Cancel(reason, force))
    commands.leave_queue(read_record(folder.record))
