"""`regiment show`, `logs`, `wait`, `cancel` and `rejoin`: reading runs, and asking them for something."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

from regiment.jobs.errors import ExitStatus, NodeError, UserError
from regiment.jobs.journal import read_journal
from regiment.jobs.record import RunRecord
from regiment.jobs.requests import Cancel, Rejoin
from regiment.jobs.workspace import RunFolder, Workspace, find_workspace

from ..details import details, process_rows
from ..family import family_trees
from ..listing import find_descendants
from ..liveness import connect, is_over
from ..runs import ask, read_run
from ..view.plain import PlainView
from ..viewer import Viewer
from ..waiting import wait_for_end
from .output import answer, say

_MOMENT = 0.05
"""Seconds until a coordinator that is just coming or going is looked for again."""


def _workspace(options: argparse.Namespace) -> Workspace:
    return find_workspace(options.workspace, os.environ, Path.cwd())


def _run(options: argparse.Namespace) -> tuple[RunFolder, RunRecord]:
    folder = _workspace(options).existing_run(options.run_id)
    return folder, read_run(folder)


def show(options: argparse.Namespace) -> int:
    """Show one run."""
    _check_timeline_flags(options)
    folder, record = _run(options)
    if options.diff is not None:
        _show_difference(options, (folder, record))
        return 0
    if options.timeline or options.trace is not None:
        from .timeline import show_timeline

        show_timeline(options, (folder, record))
        return 0
    data = details(folder, record)
    if options.output == "table" and options.query is None:
        from .show_text import show_text

        print(show_text(data, _family(options, record)))
    else:
        answer(options, data)
    return 0


def _check_timeline_flags(options: argparse.Namespace) -> None:
    if options.attempt is not None and not options.timeline and options.trace is None:
        raise UserError("--attempt: expected only with --timeline or --trace")
    if options.trace is not None and options.diff is not None:
        raise UserError("--trace: a trace is of one run; leave --diff out")


def _show_difference(options: argparse.Namespace, known: tuple[RunFolder, RunRecord]) -> None:
    other = _workspace(options).existing_run(options.diff)
    reference = (other, read_run(other))
    if options.timeline:
        from .timeline import show_timeline_difference

        show_timeline_difference(options, known, reference)
    else:
        from .difference import show_difference

        show_difference(options, known, reference)


def _family(options: argparse.Namespace, record: RunRecord) -> list[tuple[int, RunRecord]]:
    """Give the runs below this one, with how deep each is."""
    below = find_descendants(_workspace(options), [record.run_id])
    return [(depth, child) for depth, child in family_trees([record], below) if depth]


def wait(options: argparse.Namespace) -> int:
    """Wait until a run has ended; gives its exit status."""
    folder, record = _run(options)
    deadline = math.inf if options.timeout is None else time.monotonic() + options.timeout
    if record.away is None:
        record = wait_for_end(folder, deadline)
    else:
        from ..detached.person import FarLooker

        record = FarLooker(folder, lambda text: say(f"regiment: {text}")).wait(deadline)
    if not is_over(record):
        raise NodeError(f"run {record.run_id} is still {record.status.value} after {options.timeout:g} s")
    if record.error is not None:
        say(f"regiment: {record.run_id}: {record.error.message}")
    return int(record.exit_status if record.exit_status is not None else ExitStatus.NODE_ERROR)


def cancel(options: argparse.Namespace) -> int:
    """Ask a run to end; one that has ended stays as it is."""
    folder, record = _run(options)
    if record.status.is_terminal:
        say(f"regiment: run {record.run_id} has ended already: {record.status.value}")
        return 0
    if record.scheduler is not None:
        from ..slurm.person import cancel as cancel_in_slurm

        cancel_in_slurm(folder, "cancelled by 'regiment cancel'", force=options.force)
    else:
        ask(folder, Cancel("cancelled by 'regiment cancel'", options.force))
    say(f"regiment: asked run {record.run_id} to end; 'regiment wait {record.run_id}' waits for that")
    return 0


def rejoin(options: argparse.Namespace) -> int:
    """Ask an elastic run to start its lost nodes again."""
    folder, record = _run(options)
    if record.status.is_terminal:
        raise UserError(f"run {record.run_id} has ended: {record.status.value}; 'regiment run' starts a new one")
    if not _is_elastic(folder):
        raise UserError(
            f"run {record.run_id} is not elastic and needs all its nodes; only --nodes MIN:MAX can lose some"
        )
    lost = [node.node_id for node in record.nodes if node.state == "lost"]
    if not lost:
        say(f"regiment: all nodes of run {record.run_id} are there")
        return 0
    ask(folder, Rejoin())
    say(f"regiment: asked run {record.run_id} to start {', '.join(lost)} again")
    return 0


def _is_elastic(folder: RunFolder) -> bool:
    plan = json.loads(folder.plan.read_text("utf-8"))
    return any(node["launcher"] is not None and node["launcher"]["isElastic"] for node in plan["nodes"])


def logs(options: argparse.Namespace) -> int:
    """Print the logs of a run's processes, and go on with them until its end if that is asked for."""
    folder, record = _run(options)
    chosen = _chosen_ranks(options, folder)
    view = PlainView(
        sys.stdout,
        sys.stderr,
        folder.root,
        quiet=True,
        interruptible=False,
        chosen=lambda process: process.rank in chosen,
        tail=options.tail,
    )
    if options.follow and record.scheduler is not None and not is_over(record):
        from ..slurm.person import Onlooker

        status = Onlooker(folder, lambda text: say(f"regiment: {text}")).show(view)
        return status if status > 128 else 0
    if options.follow and record.away is not None and not is_over(record):
        from ..detached.person import FarLooker

        status = FarLooker(folder, lambda text: say(f"regiment: {text}")).show(view)
        return status if status > 128 else 0
    connection = None
    while options.follow and not record.status.is_terminal and connection is None:
        connection = connect(record)
        if connection is None:
            time.sleep(_MOMENT)
            record = read_run(folder)
    if connection is None:
        _print_what_is_there(folder, view)
        return 0
    viewer = Viewer(folder, connection, view)
    viewer.watch()
    status = viewer.run(owns_run=False)
    return status if status > 128 else 0


def _print_what_is_there(folder: RunFolder, view: PlainView) -> None:
    for event in read_journal(folder.events):
        if event.get("event") == "run_started":
            try:
                view.on_event(event)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise UserError(
                    f"{folder.events} is damaged ({error!r}); the logs are in {folder.attempt_logs_link}"
                ) from None
    for row in process_rows(folder):
        log = folder.root / row["log"]
        if log.exists():
            view.on_log(row["rank"], log.stat().st_size)
    view.close()


def _chosen_ranks(options: argparse.Namespace, folder: RunFolder) -> set[int]:
    rows = process_rows(folder)
    ranks = {
        row["rank"] for row in rows if options.rank in (None, row["rank"]) and options.node in (None, row["nodeRank"])
    }
    if rows and not ranks:
        raise UserError(
            f"run {folder.run_id} has no such process; it has {len(rows)} of them, ranks 0 to {len(rows) - 1}"
        )
    return ranks
