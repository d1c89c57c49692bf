"""A run of the command line's: from what was asked for to its end, or until it is left running."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import UserError
from regiment.jobs.record import read_record
from regiment.jobs.registry import LOCAL
from regiment.jobs.workspace import RunFolder

from ..coordinatorstart import CoordinatorProcess
from ..node.inside import agent_of
from ..node.messages import Terminal
from ..submit import Submission, submit
from .hosts import hosts_of
from .output import say
from .request import Request, check_interactive, check_prefix_program, read_request, workspace_of

if TYPE_CHECKING:
    from regiment.distribution.slurm.allocation import Allocation

    from ..coordinator.hosts import Hosts


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
    allocation = _allocation_for(request, options)
    if allocation is not None:
        if coordinator is not None:
            coordinator.dismiss()
        return _run_in_allocation(request, options, allocation)
    if options.interactive is not None:
        check_interactive(request.spec, options)
    for note in request.notes:
        say(f"regiment: {note}", quiet=options.quiet)
    workspace = workspace_of(options)
    hosts = hosts_of(options, request.compute, request.spec.instance_count)

    if hosts is not None and options.interactive is not None:
        raise UserError("--interactive: a process on a host has no terminal here; run it here, without hosts")

    if hosts is not None and options.detach:
        if coordinator is not None:
            coordinator.dismiss()  # The run's own is going to be on its first host.
        return _leave_to_hosts(request, options, hosts)

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


def _leave_to_hosts(request: Request, options: argparse.Namespace, hosts: Hosts) -> int:
    from ..detached.submission import leave_to_hosts

    def tell(text: str) -> None:
        say(f"regiment: {text}", quiet=options.quiet)

    left = leave_to_hosts(request.spec, request.text, workspace_of(options), hosts, tell)
    for note in left.notes:
        tell(note)
    tell(f"run {left.folder.run_id} is left to its hosts; {hosts.names[0]} has its coordinator")
    print(left.folder.run_id)
    return 0


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


def _allocation_for(request: Request, options: argparse.Namespace) -> Allocation | None:
    """Give the nodes that somebody has got for this shell; None where it is for this machine alone."""
    if "SLURM_JOB_ID" not in os.environ or request.compute.type != LOCAL or options.compute is not None:
        return None
    from regiment.distribution.slurm.allocation import allocation_of

    allocation = allocation_of(os.environ, options.launch_with)
    return None if allocation is None or (allocation.is_here and len(allocation.nodes) == 1) else allocation


def _run_in_allocation(request: Request, options: argparse.Namespace, allocation: Allocation) -> int:
    if options.interactive is not None:
        raise UserError("--interactive: a task of srun's has no terminal; add --compute local for this machine alone")
    if options.detach:
        raise UserError("--detach: the nodes go with Slurm's job that this is in; put & behind the command instead")
    from regiment.distribution.slurm.allocation import nodes_taken

    from ..slurm.inside import start_in
    from ..view import choose_view

    def tell(text: str) -> None:
        say(f"regiment: {text}", quiet=options.quiet)

    for note in request.notes:
        tell(note)
    nodes = nodes_taken(request.spec, allocation, options.nodes is not None)
    spec = replace(request.spec, instance_count=nodes)
    attached = start_in(allocation, spec, request.text, workspace_of(options), options.launch_with, tell)
    view = choose_view(sys.stdout, sys.stderr, options.quiet, attached.folder.root)
    status = attached.show(view)
    if options.pass_exit_code:
        code = read_record(attached.folder.record).job_exit_code
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
