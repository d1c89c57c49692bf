"""What stands for a run in a program: its id, and where to ask for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from regiment.jobs.record import RunRecord

from ..operations import DescribeRun, ReadRun
from .ledger import Found, Metrics

if TYPE_CHECKING:
    from .workspace import Workspace


class Handle:
    """The part that all others stand on."""

    _workspace: Workspace
    _id: str
    _folder: Path | None
    """Its folder, where that is known already; it never moves."""
    _writer: Metrics | None

    @property
    def id(self) -> str:
        """The run's id."""
        return self._id

    @property
    def _record(self) -> RunRecord:
        return self._found().record

    def _found(self) -> Found:
        found = Found(self._workspace._ledger.ask(ReadRun(self._id)))
        self._folder = found.folder
        return found

    def _describe(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._workspace._ledger.ask(DescribeRun(self._id))
        return answer

    def _its_folder(self) -> Path:
        return self._folder or self._found().folder
