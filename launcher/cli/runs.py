"""`regiment list`, `tag`, `archive`, `restore`, `experiments` and `reindex`: the runs of a workspace as a whole.

Lists are what people wait for most often: only what they need is imported here.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regiment.jobs.edits import AddProperties, Archive, Edit, Tag, Untag
from regiment.jobs.errors import NodeError, UserError
from regiment.jobs.record import RunRecord
from regiment.jobs.runfilter import RunFilter
from regiment.jobs.status import RunStatus
from regiment.jobs.workspace import Workspace, find_workspace

from .output import answer, columns, say

_PAGE = 50
"""Runs that a table shows where nobody says how many."""
_COLUMNS = {
    "runId": "RUN",
    "experimentName": "EXPERIMENT",
    "status": "STATUS",
    "instanceCount": "NODES",
    "processCount": "PROCESSES",
    "createdUtc": "CREATED",
    "elapsedSeconds": "SECONDS",
}


def _workspace(options: argparse.Namespace) -> Workspace:
    return find_workspace(options.workspace, os.environ, Path.cwd())


# --- list -------------------------------------------------------------------------------------------


def list_runs(options: argparse.Namespace) -> int:
    """List runs, newest first; one with a damaged record is named and left out."""
    from ..details import summary
    from ..listing import find_runs

    workspace = _workspace(options)
    if workspace.away.is_dir():
        from ..ssh.bringing import bring_all

        bring_all(workspace)
    wanted, limit = _wanted(options, workspace), _limit(options)
    found = find_runs(workspace, wanted, None if limit is None else limit + 1, lambda text: say(f"regiment: {text}"))
    if limit is not None and len(found) > limit:
        found.pop()
        if options.last is None:
            say(f"regiment: these are the newest {limit}; --last N shows more, --all shows all of them")
    depths = [0] * len(found)
    if options.tree:
        depths, found = _with_children(workspace, found)
    rows = [summary(record) for record in found]
    named = [{**row, "runId": _indented(row["runId"], depth)} for row, depth in zip(rows, depths, strict=True)]
    answer(options, rows, columns(named, _COLUMNS))
    return 0


def _limit(options: argparse.Namespace) -> int | None:
    """Give how many runs are shown at most: a page for people, all for programs and queries."""
    if options.last is not None or options.all or options.query is not None or options.output != "table":
        last: int | None = options.last
        return last
    return _PAGE


def _wanted(options: argparse.Namespace, workspace: Workspace) -> RunFilter:
    archived = None if options.include_archived else bool(options.archived)
    return RunFilter(
        experiment=options.experiment,
        status=_status(options.status),
        parent=options.parent,
        tags=_labels(options.tag, "--tag"),
        properties=_labels(options.property, "--property"),
        archived=archived,
        top_level=options.parent is None and not options.children,
        hidden_experiments=_hidden(workspace) if archived is False and options.experiment is None else frozenset(),
    )


def _hidden(workspace: Workspace) -> frozenset[str]:
    from ..listing import archived_experiments

    return frozenset(archived_experiments(workspace))


def _status(text: str | None) -> RunStatus | None:
    if text is None:
        return None
    known = {status.value.lower(): status for status in RunStatus}
    if text.lower() not in known:
        raise UserError(f"--status {text!r} is none; choose one of {', '.join(status.value for status in RunStatus)}")
    return known[text.lower()]


def _labels(given: Sequence[str], what: str) -> dict[str, str | None]:
    """Read `K=V`, or `K` alone for whatever value."""
    labels: dict[str, str | None] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key:
            raise UserError(f"{what} {text!r} has no name before the '='; write NAME=VALUE, or NAME alone")
        labels[key] = value if equals else None
    return labels


def _with_children(workspace: Workspace, records: list[RunRecord]) -> tuple[list[int], list[RunRecord]]:
    """Give each run with all that are below it, and how deep each is."""
    from ..family import family_trees
    from ..listing import find_descendants

    below = find_descendants(workspace, [record.run_id for record in records])
    lines = list(family_trees(records, below))
    return [depth for depth, _ in lines], [record for _, record in lines]


def _indented(run_id: Any, depth: int) -> str:
    return f"└{'───' * (depth - 1)}─ {run_id}" if depth else str(run_id)


# --- changes ----------------------------------------------------------------------------------------


def tag(options: argparse.Namespace) -> int:
    """Set and remove tags of a run, and add properties."""
    edits: list[Edit] = []
    properties = _labels(options.property, "--property")
    if None in properties.values():
        raise UserError("--property needs a value: --property NAME=VALUE")
    if properties:
        edits.append(AddProperties(properties))
    if options.remove:
        edits.append(Untag(tuple(options.remove)))
    tags = _labels(options.tags, "tag")
    if tags:
        edits.append(Tag(tags))
    if not edits:
        raise UserError("say which tags: K=V or K to set one, --remove K to take one away, --property K=V to add one")
    _edit(options, *edits)
    return 0


def archive(options: argparse.Namespace) -> int:
    """Leave a run or an experiment out of lists; nothing is deleted."""
    return _archive(options, archived=True)


def restore(options: argparse.Namespace) -> int:
    """Show a run or an experiment in lists again."""
    return _archive(options, archived=False)


def _archive(options: argparse.Namespace, *, archived: bool) -> int:
    from ..runs import archive_experiment, restore_experiment

    if (options.run_id is None) == (options.experiment is None):
        raise UserError("name either a run, or an experiment with --experiment")
    if options.run_id is not None:
        _edit(options, Archive(archived))
        return 0
    change = archive_experiment if archived else restore_experiment
    change(_workspace(options), options.experiment)
    return 0


def _edit(options: argparse.Namespace, *edits: Edit) -> None:
    from ..runs import edit_run

    folder = _workspace(options).existing_run(options.run_id)
    for edit in edits:
        edit_run(folder, edit)


# --- the workspace ----------------------------------------------------------------------------------


def list_experiments(options: argparse.Namespace) -> int:
    """List the experiments that have runs."""
    from ..listing import archived_experiments
    from ..runs import all_experiments

    workspace = _workspace(options)
    names = all_experiments(workspace, archived=None if options.include_archived else bool(options.archived))
    hidden = archived_experiments(workspace)
    rows = [{"experimentName": name, "archived": name in hidden} for name in names]
    shown = {"experimentName": "EXPERIMENT"} | ({"archived": "ARCHIVED"} if options.include_archived else {})
    answer(options, rows, columns(rows, shown))
    return 0


def reindex(options: argparse.Namespace) -> int:
    """Make the index of the workspace anew."""
    from ..catchup import reindex as make_index
    from ..indexplace import NoIndex

    workspace = _workspace(options)
    if not workspace.runs.is_dir():
        raise UserError(f"{workspace.root} has no runs; name another workspace with --workspace")
    try:
        count = make_index(workspace)
    except NoIndex:
        raise NodeError(
            f"there can be no index of {workspace.root} here; lists work without one and take longer. It needs "
            "a disk of this machine: the workspace's own, or one that XDG_CACHE_HOME names a folder of"
        ) from None
    say(f"regiment: {count} run{'' if count == 1 else 's'} in the index of {workspace.root}")
    return 0
