"""A run of the command line's: from what was asked for to its end, or until it is left running."""

from __future__ import annotations

import argparse
import os
import sys

from regiment.jobs.errors import UserError
from regiment.jobs.record import read_record
from regiment.jobs.workspace import RunFolder

from ..coordinatorstart import CoordinatorProcess
from ..node.inside import agent_of
from ..node.messages import Terminal
from ..submit import Submission, submit
from .hosts import hosts_of
from .output import say
from .request import Request, check_interactive, check_prefix_program, read_request, workspace_of


def run(options: argparse.Namespace, coordinator: CoordinatorProcess | None) -> int:
    """Run a job and show it until it ends, or leave it running; by a coordinator that may have been started already."""
    request = read_request(options)
    check_prefix_program(request, options)
    agent = agent_of(os.environ)
    if agent is not None:
        from .child import run_as_child

        return run_as_child(request, options, agent)
    if request.compute.type == "slurm":
        if coordinator is not None:
            coordinator.dismiss()  # The run's own is going to be on its first node.
        return _run_on_slurm(request, options)
    if options.interactive is not None:
        check_interactive(request.spec, options)
    for note in request.notes:
        say(f"regiment: {note}", quiet=options.quiet)
    workspace = workspace_of(options)
    hosts = hosts_of(options, request.compute, request.spec.instance_count)

    if hosts is not None and options.interactive is not None:
        raise UserError("--interactive: a process on a host has no terminal here; run it here, without hosts")

    def start(terminal: Terminal | None = None) -> Submission:
        submission = submit(
            request.spec,
            request.text,
            workspace,
            attached=not options.detach,
            terminal=terminal,
            coordinator=coordinator,
            hosts=hosts,
        )
        for note in submission.notes:
            say(f"regiment: {note}", quiet=options.quiet)
        return submission

    if options.detach:
        submission = start()
        submission.connection.close()
        print(submission.folder.run_id)
        return 0
    if options.interactive is not None:
        from ..interactive import run_interactively

        folder, status = run_interactively(start, options.interactive, quiet=options.quiet)
    else:
        folder, status = watch(start(), options)
    if options.pass_exit_code:
        code = read_record(folder.record).job_exit_code
        return status if code is None else code
    return status


def _run_on_slurm(request: Request, options: argparse.Namespace) -> int:
    if options.interactive is not None:
        raise UserError("--interactive: a job of Slurm's has no terminal; give the run to compute target local")
    from ..slurm.submission import submit_to_slurm

    for note in request.notes:
        say(f"regiment: {note}", quiet=options.quiet)
    submitted = submit_to_slurm(request.spec, request.text, workspace_of(options), request.compute)
    for note in submitted.notes:
        say(f"regiment: {note}", quiet=options.quiet)
    folder = submitted.folder
    say(f"regiment: run {folder.run_id} is Slurm's job {submitted.job_id}", quiet=options.quiet)
    if options.detach:
        print(folder.run_id)
        return 0
    from ..slurm.person import Onlooker
    from ..view import choose_view

    view = choose_view(sys.stdout, sys.stderr, options.quiet, folder.root, interruptible=False)
    status = Onlooker(folder, lambda text: say(f"regiment: {text}", quiet=options.quiet)).show(view)
    if options.pass_exit_code:
        code = read_record(folder.record).job_exit_code
        return status if code is None else code
    return status


def watch(
    submission: Submission, options: argparse.Namespace, node_grace: float | None = None
) -> tuple[RunFolder, int]:
    """Show a run until it ends; gives its folder and the exit status.

    `node_grace` is what processes have where SIGTERM says that this very node is being taken away.
    """
    from ..view import choose_view
    from ..viewer import Viewer

    view = choose_view(sys.stdout, sys.stderr, options.quiet, submission.folder.root)
    return submission.folder, Viewer(submission.folder, submission.connection, view, node_grace=node_grace).run(
        owns_run=True
    )
