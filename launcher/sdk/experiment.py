"""An experiment: a name that runs have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regiment.jobs.errors import UserError
from regiment.jobs.runfilter import RunFilter
from regiment.jobs.workspace import NAME_RULE, is_name

from ..operations import ArchiveExperiment, CreateRuns, FindRuns, SubmitScript
from ..runs import NewRun
from .run import Run, ScriptRun, chosen, run_of, text_map
from .script import ScriptRunConfig
from .workspace import Workspace


class Experiment:
    """Runs of one name in a workspace, as `azureml.core.Experiment` has them; it is there once it has a run.

    Args:
        workspace: Where its runs are.
        name: 1 to 128 letters, digits, dots, dashes and underscores.

    Raises:
        UserError: The name is none.
    """

    def __init__(self, workspace: Workspace, name: str) -> None:
        if not is_name(name):
            raise UserError(f"{name!r} cannot name an experiment; a name is {NAME_RULE}")
        self.workspace = workspace
        self.name = name

    def start_logging(
        self,
        *,
        run_id: str | None = None,
        display_name: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        outputs: object = None,
        snapshot_directory: object = None,
    ) -> Run:
        """Start a run of this very process; it is Running until `complete`, `fail` or `cancel`, or this process's end.

        In a `with` block it is completed at its end, and failed by an exception.

        Args:
            run_id: Its id (default: a made one).
            display_name: What people call it.
            tags: Its tags.
            outputs: Accepted for Azure ML's sake; `upload_file` brings files into the run.
            snapshot_directory: Accepted for Azure ML's sake; no snapshot is taken.

        Raises:
            UserError: The id is taken, or none.
        """
        new = NewRun(run_id, display_name, text_map("a tag", tags))
        (answer,) = self.workspace._ledger.ask(CreateRuns(self.name, None, (new,)))
        return run_of(self.workspace, answer)

    def submit(self, config: ScriptRunConfig, tags: Mapping[str, str | None] | None = None, **kwargs: Any) -> ScriptRun:
        """Start a script; it goes on by itself, whatever becomes of this process.

        Args:
            config: What to run.
            tags: The run's tags.
            **kwargs: `run_id`, `display_name` and `properties`; others are an error.

        Raises:
            RegimentError: The configuration is not usable as it is, or the run cannot be started.
        """
        return submitted(self.workspace, self.name, config, tags, kwargs, None)

    def get_runs(
        self,
        type: str | None = None,  # noqa: A002  (Azure ML calls it so)
        tags: str | Mapping[str, str] | None = None,
        properties: str | Mapping[str, str] | None = None,
        include_children: bool = False,
    ) -> Iterator[Run]:
        """Give the experiment's runs, the newest first.

        Args:
            type: Only runs of that type, such as `command` or `interactive`.
            tags: Only runs that have this tag, or these with these values.
            properties: The same for properties.
            include_children: Whether to give children of runs too.
        """
        wanted = RunFilter(self.name, top_level=not include_children, **chosen(tags, properties, type))
        for answer in self.workspace._ledger.ask(FindRuns(wanted)):
            yield run_of(self.workspace, answer)

    def archive(self) -> None:
        """Hide the experiment from lists; nothing is deleted."""
        self.workspace._ledger.ask(ArchiveExperiment(self.name, True))

    def reactivate(self, new_name: str | None = None) -> None:
        """Show an archived experiment again."""
        if new_name is not None:
            raise UserError("an experiment keeps its name here; leave new_name out")
        self.workspace._ledger.ask(ArchiveExperiment(self.name, False))

    def __repr__(self) -> str:
        return f"Experiment({self.workspace!r}, {self.name!r})"


def submitted(
    workspace: Workspace,
    experiment: str,
    config: ScriptRunConfig,
    tags: Mapping[str, str | None] | None,
    others: Mapping[str, Any],
    parent: str | None,
) -> ScriptRun:
    """Submit a script as a run of its own or as somebody's child."""
    unknown = set(others) - {"run_id", "display_name", "properties"}
    if unknown:
        raise UserError(f"submit takes no {min(unknown)!r}; it takes tags, run_id, display_name and properties")
    answer = workspace._ledger.ask(
        SubmitScript(
            keys=config.runconfig(),
            source_directory=str(Path(config.source_directory or ".").absolute()),
            experiment_name=experiment,
            parent=parent,
            run_id=others.get("run_id"),
            display_name=others.get("display_name"),
            tags=text_map("a tag", tags),
            properties=text_map("a property", others.get("properties")),
        )
    )
    return ScriptRun(Experiment(workspace, experiment), answer["runId"])
