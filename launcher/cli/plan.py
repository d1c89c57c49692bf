"""`regiment plan`, `validate` and `schema`: what a run would be."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from regiment.distribution.planner import make_plan, masked_plan, wants_ports
from regiment.distribution.tasks import node_slots
from regiment.jobs.current_form import current_form
from regiment.jobs.placement import Node, Placement
from regiment.jobs.plain import to_plain

from ..backends.backend import Share
from ..backends.machine import machine_shares
from ..mpi import find_mpirun
from ..node.processes import numa_nodes
from ..submit import check_launcher
from .hosts import named_hosts
from .output import answer, say
from .request import Request, check_prefix_ranks, read_request, workspace_of


def plan(options: argparse.Namespace) -> int:
    """Show nodes, argv and environment of every process; ports and addresses are placeholders."""
    request = read_request(options)
    for note in request.notes:
        say(f"regiment: {note}")
    spec = request.spec
    if request.compute.python is None:
        check_launcher(spec)
    nodes = tuple(
        Node(
            index=index,
            node_id=f"node-{index}",
            host=f"{{host of node-{index}}}",
            address=f"{{address of node-{index}}}",
            slots=slots,
            cpus=share.cpus,
            python=request.compute.python or sys.executable,
            gpus=share.gpus,
            shares_gpus=share.shares_gpus,
            numa=numa_nodes(),
            ports=(f"{{port of node-{index}}}",) * slots if wants_ports(spec) else (),
            data=f"{{data of node-{index}}}",
        )
        for index, (share, slots) in enumerate(zip(_shares(request, options), node_slots(spec), strict=True))
    )
    placement = Placement(nodes, "{port}")
    planned = masked_plan(make_plan(spec, placement, spec.name or "{run id}", 0, find_mpirun(spec, has_srun=True)))
    script = _script(request, options)
    if options.output == "table" and options.query is None:
        from .plan_text import plan_text

        if script is not None:
            print(f"{script}\n# --- what the agents would start on the nodes that Slurm gives:\n")
        print(plan_text(planned, os.environ))
    else:
        answer(options, to_plain(planned) if script is None else {**to_plain(planned), "sbatch": script})
    return 0


def _shares(request: Request, options: argparse.Namespace) -> Sequence[Share]:
    """Give what each node has; of Slurm's only what is asked for is known, and hosts are taken to be like this one."""
    spec = request.spec
    if request.compute.type == "ssh" or named_hosts(options) is not None:
        return machine_shares(1) * spec.instance_count
    if request.compute.type != "slurm":
        return machine_shares(spec.instance_count)
    from regiment.distribution.slurm.script import asked_share

    cpus, gpus = asked_share(spec, request.compute.sbatch)
    share = Share(tuple(range(cpus)), tuple(map(str, range(gpus))) or None)
    return (share,) * spec.instance_count


def _script(request: Request, options: argparse.Namespace) -> str | None:
    if request.compute.type != "slurm":
        return None
    from regiment.jobs.dataclass import replace

    from ..slurm.submission import script_of

    workspace = workspace_of(options)
    folder = replace(workspace.run("run"), root=workspace.runs / (request.spec.name or "{run id}"))
    return script_of(request.spec, folder, request.compute)


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
