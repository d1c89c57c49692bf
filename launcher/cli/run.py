"""`regiment run`, `plan`, `validate` and `schema`: from what was asked for to a run, or to what it would be."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from regiment.distribution.planner import make_plan, masked_plan, wants_ports
from regiment.distribution.tasks import node_slots
from regiment.jobs.current_form import current_form
from regiment.jobs.record import read_record
from regiment.jobs.workspace import RunFolder

from ..backends.local import machine_shares
from ..coordinatorstart import CoordinatorProcess
from ..mpi import find_mpirun
from ..node.asking import agent_of
from ..node.messages import Terminal
from ..node.processes import numa_nodes
from ..submit import Submission, check_launcher, submit
from .output import answer, say
from .request import check_interactive, check_prefix_program, check_prefix_ranks, read_request, workspace_of


def run(options: argparse.Namespace, coordinator: CoordinatorProcess | None) -> int:
    """Run a job and show it until it ends, or leave it running; by a coordinator that may have been started already."""
    request = read_request(options)
    check_prefix_program(request, options)
    agent = agent_of(os.environ)
    if agent is not None:
        from .child import run_as_child

        return run_as_child(request, options, agent)
    if options.interactive is not None:
        check_interactive(request.spec, options)
    for note in request.notes:
        say(f"regiment: {note}", quiet=options.quiet)
    workspace = workspace_of(options)

    def start(terminal: Terminal | None = None) -> Submission:
        submission = submit(
            request.spec,
            request.text,
            workspace,
            attached=not options.detach,
            terminal=terminal,
            coordinator=coordinator,
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
        folder, status = _watch(start(), options)
    if options.pass_exit_code:
        code = read_record(folder.record).job_exit_code
        return status if code is None else code
    return status


def _watch(submission: Submission, options: argparse.Namespace) -> tuple[RunFolder, int]:
    from ..view import choose_view
    from ..viewer import Viewer

    view = choose_view(sys.stdout, sys.stderr, options.quiet, submission.folder.root)
    return submission.folder, Viewer(submission.folder, submission.connection, view).run(owns_run=True)


def plan(options: argparse.Namespace) -> int:
    """Show nodes, argv and environment of every process; ports and addresses are placeholders."""
    from regiment.jobs.placement import Node, Placement
    from regiment.jobs.plain import to_plain

    request = read_request(options)
    for note in request.notes:
        say(f"regiment: {note}")
    spec = request.spec
    check_launcher(spec)
    nodes = tuple(
        Node(
            index=index,
            node_id=f"node-{index}",
            host=f"{{host of node-{index}}}",
            address=f"{{address of node-{index}}}",
            slots=slots,
            cpus=share.cpus,
            python=sys.executable,
            gpus=share.gpus,
            shares_gpus=share.shares_gpus,
            numa=numa_nodes(),
            ports=(f"{{port of node-{index}}}",) * slots if wants_ports(spec) else (),
            data=f"{{data of node-{index}}}",
        )
        for index, (share, slots) in enumerate(zip(machine_shares(spec.instance_count), node_slots(spec), strict=True))
    )
    placement = Placement(nodes, "{port}")
    planned = masked_plan(make_plan(spec, placement, spec.name or "{run id}", 0, find_mpirun(spec)))
    if options.output == "table" and options.query is None:
        from .plan_text import plan_text

        print(plan_text(planned, os.environ))
    else:
        answer(options, to_plain(planned))
    return 0


def validate(options: argparse.Namespace) -> int:
    """Check a job file; as data, answer with the job in the current form. No workspace is needed."""
    from regiment.jobs.loader import load_job

    job = load_job(
        Path(options.job_file), options.overrides, Path.cwd(), lenient=options.lenient, paths=not options.no_paths
    )
    check_prefix_ranks(job.spec, options, job.options)
    for note in job.notes:
        say(f"regiment: {note}")
    if options.output == "table" and options.query is None:
        print(f"{options.job_file}: valid")
    else:
        answer(options, current_form(job.spec))
    return 0


def schema(options: argparse.Namespace) -> int:
    """Print the JSON schema of the job file."""
    from regiment.jobs.schema import schema_text

    print(schema_text(), end="")
    return 0
