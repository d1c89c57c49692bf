"""One person's `logs -f` and `wait` for a run that is left to its hosts."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from regiment.jobs.record import RunRecord, RunStatus
from regiment.jobs.workspace import RunFolder

from ..liveness import is_over
from ..runs import read_run
from ..slurm.following import FolderFollower
from ..ssh.bringing import bring_results
from ..view import View

_CHECK, _LOOK = 1.0, 0.2
"""Seconds between two looks at what is new on the run's node 0, and at whether that is due."""


class FarLooker:
    """Shows a run that goes on without anybody, and brings its results when it has ended."""

    def __init__(self, folder: RunFolder, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._is_unknown = False

    def show(self, view: View) -> int:
        """Show the run to its end; gives the exit status."""
        follower = FolderFollower(self._folder, view, self._heard, read=self.read, check=_CHECK)
        status = follower.run()
        if follower.left is not None:
            return 128 + follower.left
        assert status is not None
        bring_results(self._folder)
        return status

    def wait(self, deadline: float) -> RunRecord:
        """Give the run once it has ended, or when the monotonic clock has reached `deadline`, as it is then."""
        while True:
            record = self.read()
            if is_over(record) or time.monotonic() >= deadline:
                return bring_results(self._folder) if is_over(record) else record
            time.sleep(_LOOK)

    def read(self) -> RunRecord:
        """Give the run's record as it is true now, and say when its node 0 cannot be reached."""
        record = read_run(self._folder)
        is_unknown = record.status is RunStatus.UNKNOWN
        if is_unknown and not self._is_unknown and record.error is not None:
            self._say(f"{record.error.message}; it is called again and again")
        if self._is_unknown and not is_unknown:
            self._say("node 0 of the run is there again")
        self._is_unknown = is_unknown
        return record

    def _heard(self, number: signal.Signals) -> bool:
        """Go; the run stays."""
        self._say(f"run {self._folder.run_id} goes on; 'regiment cancel {self._folder.run_id}' ends it")
        return True
