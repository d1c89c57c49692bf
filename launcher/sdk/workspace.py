"""The workspace: where experiments and their runs are."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from regiment.jobs.errors import UserError
from regiment.jobs.workspace import Workspace as WorkspaceFolder
from regiment.jobs.workspace import find_workspace

from ..operations import ListComputes, ListExperiments
from .compute import ComputeTarget, ComputeTargets
from .ledger import InPlace, Ledger, ledger_of

if TYPE_CHECKING:
    from .experiment import Experiment
    from .run import Run

_CONFIG = Path(".azureml", "config.json")
_OURS = ".regiment"


class Workspace:
    """A folder with runs, as `azureml.core.Workspace` is a place for them in Azure.

    Args:
        path: The workspace's folder; it is made when the first run is.
        name: What it is called (default: the folder's name, or its parent's for a `.regiment`).
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        folder = Path(path).absolute()
        self._ledger: Ledger = InPlace(WorkspaceFolder(folder))
        self.name: str = name or (folder.parent.name if folder.name == _OURS else folder.name)

    @classmethod
    def _through(cls, ledger: Ledger, name: str) -> Workspace:
        workspace = cls.__new__(cls)
        workspace._ledger, workspace.name = ledger, name
        return workspace

    @classmethod
    def from_config(cls, path: str | Path | None = None, auth: object = None) -> Workspace:
        """Find the workspace of the current folder.

        Inside a job it is the one that the job's run is in. Else it is what REGIMENT_WORKSPACE names, or lies beside
        the nearest `.azureml/config.json` or `.regiment/` upward, or is `./.regiment`, as on the command line.

        Args:
            path: Where to begin (default: the current folder), or a `config.json` itself.
            auth: Accepted for Azure ML's sake; nobody has to log in.

        Raises:
            UserError: The `config.json` is none.
        """
        ledger = ledger_of(os.environ)
        if ledger is not None:
            return cls._through(ledger, os.environ.get("REGIMENT_WORKSPACE", _OURS))
        start = Path(path or ".").absolute()
        if start.is_file():
            return cls(_folder_of(start) / _OURS, _name_in(start))
        if path is None and os.environ.get("REGIMENT_WORKSPACE"):
            return cls(find_workspace(None, os.environ, Path.cwd()).root)
        for folder in (start, *start.parents):
            name = _name_in(folder / _CONFIG) if (folder / _CONFIG).is_file() else None
            if name is not None or (folder / _OURS).is_dir():
                return cls(folder / _OURS, name)
        return cls(start / _OURS)

    def write_config(self, path: str | Path | None = None, file_name: str | None = None) -> None:
        """Write `<path>/.azureml/config.json` (default: in the current folder), which `from_config` finds."""
        file = Path(path or ".", _CONFIG.parent, file_name or _CONFIG.name)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"workspace_name": self.name}, indent=2) + "\n", "utf-8")
        except OSError as error:
            raise UserError(f"{file} cannot be written: {error.strerror}; give another path") from None

    @property
    def compute_targets(self) -> Mapping[str, ComputeTarget]:
        """The compute targets by name, `local` first; an unknown name is an error that says what there is."""
        targets = self._ledger.ask(ListComputes())
        return ComputeTargets({item["name"]: ComputeTarget(item["name"], item["type"]) for item in targets})

    @property
    def experiments(self) -> Mapping[str, Experiment]:
        """The experiments that have runs and are not archived, by name."""
        from .experiment import Experiment

        return {name: Experiment(self, name) for name in self._ledger.ask(ListExperiments())}

    def get_run(self, run_id: str) -> Run:
        """Give the run of that id.

        Raises:
            UserError: There is none.
        """
        from .run import found_run

        return found_run(self, run_id)

    def get_details(self) -> dict[str, str]:
        """Say which workspace it is."""
        return {"name": self.name, "folder": self._ledger.workspace}

    def __repr__(self) -> str:
        return f"Workspace({self._ledger.workspace!r})"


def _name_in(config: Path) -> str:
    try:
        name = json.loads(config.read_text("utf-8"))["workspace_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{config} is no workspace's config.json: it needs a 'workspace_name'") from None
    return str(name)


def _folder_of(config: Path) -> Path:
    return config.parent.parent if config.parent.name == _CONFIG.parent.name else config.parent
