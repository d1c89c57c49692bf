"""`regiment plan`, `validate` and `schema`: what a run would be."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from regiment.distribution.planner import make_plan, masked_plan, wants_ports
from regiment.distribution.tasks import node_slots
from regiment.jobs.current_form import current_form
from regiment.jobs.placement import Node, Placement
from regiment.jobs.plain import to_plain

from ..backends.machine import machine_shares
from ..mpi import find_mpirun
from ..node.processes import numa_nodes
from ..submit import check_launcher
from .output import answer, say
from .request import check_prefix_ranks, read_request


def plan(options: argparse.Namespace) -> int:
    """Show nodes, argv and environment of every process; ports and addresses are placeholders."""
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
