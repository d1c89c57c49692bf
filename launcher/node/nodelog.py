"""The agent's own logs, named as Azure ML names its host tools' logs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path

from regiment.jobs.files import append_text, private_folder


class Kind(Enum):
    """The logs of one node that are not a process's."""

    EXECUTION = "55_azureml-execution-{}.txt"
    """What was started and ended, and what the launcher printed."""
    JOB_PREP = "65_job_prep-{}.txt"
    """How the node was made ready."""
    JOB_POST = "75_job_post-{}.txt"
    """What was brought in after the job."""


class NodeLog:
    """Writes lines with their time; a full disk is told once and stops nothing."""

    def __init__(self, node_id: str, on_trouble: Callable[[str], None]) -> None:
        self._node_id = node_id
        self._on_trouble = on_trouble
        self._folder: Path | None = None
        self._is_told = False

    def open(self, folder: Path) -> None:
        """Say where the logs go; what was written before is not kept."""
        private_folder(folder)
        self._folder = folder

    def path(self, kind: Kind) -> Path:
        """Give a log's path."""
        assert self._folder is not None
        return self._folder / kind.value.format(self._node_id)

    def write(self, kind: Kind, text: str) -> None:
        """Write one line."""
        if self._folder is None:
            return
        try:
            append_text(self.path(kind), f"{datetime.now(timezone.utc).isoformat()} {text}\n")
            self._is_told = False
        except OSError as error:
            if self._is_told:
                return
            self._is_told = True
            self._on_trouble(f"{self.path(kind)} cannot be written: {error.strerror}")
