"""`regiment download`: a run's files, copied out or put into a zip."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from regiment.jobs.errors import UserError
from regiment.jobs.record import read_record
from regiment.jobs.words import counted
from regiment.jobs.workspace import RunFolder, find_workspace

from ..artifacts import Artifact, artifacts, bring, is_log
from ..view.words import size
from ..zips import Progress, zip_files
from .output import answer, say


def download(options: argparse.Namespace) -> int:
    """Copy a run's files; prints where they are."""
    folder = find_workspace(options.workspace, os.environ, Path.cwd()).existing_run(options.run_id)
    if read_record(folder.record).away is not None:
        from ..ssh.bringing import bring_results

        bring_results(folder)
    found = _chosen(folder, options)
    if options.list:
        rows = [{"name": artifact.name, "bytes": artifact.size} for artifact in found]
        answer(options, rows, [{"FILE": row["name"], "BYTES": row["bytes"]} for row in rows])
        return 0
    target = Path(options.to or folder.run_id)
    if options.zip:
        target = target if target.suffix == ".zip" else target.with_name(f"{target.name}.zip")
    total = sum(artifact.size for artifact in found)
    with _bar(folder.run_id, total) as progress:
        if options.zip:
            zip_files(found, target, progress)
        else:
            for artifact in found:
                bring(artifact.place, target / artifact.name, progress)
    say(f"regiment: {counted(len(found), 'file')} of run {folder.run_id}, {size(total)}")
    print(target)
    return 0


def _chosen(folder: RunFolder, options: argparse.Namespace) -> list[Artifact]:
    wanted = _SETS[options.which]
    name = None if options.path is None else options.path.rstrip("/")
    found = [
        artifact
        for artifact in artifacts(folder)
        if wanted(artifact) and (name is None or artifact.name == name or artifact.name.startswith(f"{name}/"))
    ]
    if not found and not options.list:
        which = "files" if name is None else f"file or folder {name!r}"
        raise UserError(
            f"run {folder.run_id} has no such {which}; 'regiment download {folder.run_id} --list' shows all"
        )
    return found


def _is_older(artifact: Artifact) -> bool:
    return artifact.name.startswith("attempts/")


_SETS: dict[str, Callable[[Artifact], bool]] = {
    "newest": lambda artifact: not _is_older(artifact),
    "outputs": lambda artifact: not is_log(artifact),
    "logs": is_log,
    "all": lambda artifact: True,
}
"""What --outputs, --logs and --all choose; without them, everything but the logs of earlier attempts."""


@contextmanager
def _bar(run_id: str, total: int) -> Iterator[Progress | None]:
    """Show how far the copying is, where there is a terminal to show it on."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    look = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*look, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(run_id, total=total)
        yield lambda count: bars.advance(task, count)
