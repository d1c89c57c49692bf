"""`regiment run` inside a job: the run is started by the coordinator of the job's run, as a child of that."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from regiment.jobs.errors import ExitStatus, UserError
from regiment.jobs.record import RunRecord, read_record
from regiment.jobs.workspace import RunFolder, Workspace

from ..liveness import connect
from ..operations import SubmitJob
from ..sdk.asking import ask_agent
from ..view import choose_view
from ..viewer import Viewer
from ..waiting import wait_for_end
from .output import say
from .request import Request

_MOMENT = 0.05
"""Seconds until a coordinator that is just coming is looked for again."""


def run_as_child(request: Request, options: argparse.Namespace, agent: str) -> int:
    """Have the job started, and show it to its end unless it is left running; gives the exit status.

    The run belongs to nobody here: whatever becomes of this process, it goes on.
    """
    if options.interactive is not None:
        raise UserError("--interactive needs a terminal of yours; a run that is started inside a job has none")
    if options.hosts is not None or options.hostfile is not None:
        raise UserError(
            "--hosts and --hostfile are for runs from a shell of yours; a job's own runs are on its machine"
        )
    for note in request.notes:
        say(f"regiment: {note}", quiet=options.quiet)
    parent = os.environ["REGIMENT_RUN_ID"]
    answer = ask_agent(agent, SubmitJob(request.spec, request.text, parent))
    for note in answer["notes"]:
        say(f"regiment: {note}", quiet=options.quiet)
    if options.detach:
        print(answer["runId"])
        return 0
    folder = Workspace(Path(answer["workspace"])).existing_run(answer["runId"])
    status = _watch(folder, options)
    record = read_record(folder.record)
    if options.pass_exit_code and record.job_exit_code is not None:
        return record.job_exit_code
    return status


def _watch(folder: RunFolder, options: argparse.Namespace) -> int:
    record = read_record(folder.record)
    if record.scheduler is not None:
        from ..slurm.person import Onlooker

        view = choose_view(sys.stdout, sys.stderr, options.quiet, folder.root, interruptible=False)
        return Onlooker(folder, lambda text: say(f"regiment: {text}", quiet=options.quiet)).show(view)
    connection = connect(record)
    while connection is None and not record.status.is_terminal:
        record = wait_for_end(folder, time.monotonic() + _MOMENT)
        connection = connect(record)
    if connection is None:
        return _status_of(record)
    view = choose_view(sys.stdout, sys.stderr, options.quiet, folder.root, interruptible=False)
    viewer = Viewer(folder, connection, view)
    viewer.watch()
    return viewer.run(owns_run=False)


def _status_of(record: RunRecord) -> int:
    if record.error is not None:
        say(f"regiment: {record.run_id}: {record.error.message}")
    return int(record.exit_status if record.exit_status is not None else ExitStatus.NODE_ERROR)
