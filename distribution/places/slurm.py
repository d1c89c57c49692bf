"""Slurm's tasks: `srun` starts one on each node of a step, and tells it the step's nodes."""

from __future__ import annotations

from regiment.jobs.errors import UserError

from . import hostlist, values
from .place import Environ, Found, Read

_SHELL = "4294967290"
"""The step that is the shell of an interactive job, on its first node (SLURM_INTERACTIVE_STEP of <slurm/slurm.h>)."""
_ONE_EACH = "start it with 'srun --ntasks-per-node=1 regiment agent ...', which makes one agent a node"


def slurm(environ: Environ, read: Read) -> Found | None:
    """Read the place of a step's task; a job's script has one only where the job has a single node."""
    if "SLURM_JOB_ID" not in environ:
        return None
    if "SLURM_STEP_NUM_NODES" in environ and "SLURM_NODEID" in environ and environ.get("SLURM_STEP_ID") != _SHELL:
        return _task(environ)
    return _script(environ)


def _task(environ: Environ) -> Found:
    nodes = values.count(environ["SLURM_STEP_NUM_NODES"], "SLURM_STEP_NUM_NODES")
    tasks = values.whole(environ, "SLURM_STEP_NUM_TASKS") if "SLURM_STEP_NUM_TASKS" in environ else None
    if environ.get("SLURM_LOCALID", "0") != "0" or (tasks is not None and tasks != int(nodes.value)):
        raise UserError(f"Slurm starts {tasks} tasks on {nodes.value} nodes; {_ONE_EACH}")
    by = "SLURM_STEP_NODELIST" if environ.get("SLURM_STEP_NODELIST") else "SLURM_JOB_NODELIST"
    hosts = hostlist.expand(environ.get(by, ""), by)
    if len(hosts) != int(nodes.value):
        raise UserError(f"{by} has {len(hosts)} nodes, but SLURM_STEP_NUM_NODES is {nodes.value}")
    said = (nodes, values.rank(environ["SLURM_NODEID"], "SLURM_NODEID"), values.host(hosts[0], by))
    # Two steps of a job may share its nodes.
    step = environ.get("SLURM_STEP_ID", "")
    return Found("Slurm", said, f"{environ['SLURM_JOB_ID']}.{step}", _ONE_EACH)


def _script(environ: Environ) -> Found:
    name = "SLURM_JOB_NUM_NODES" if "SLURM_JOB_NUM_NODES" in environ else "SLURM_NNODES"
    nodes = values.count(environ.get(name, ""), name)
    if nodes.value != "1":
        raise UserError(
            f"this is no task of Slurm's, but the script or shell of a job with {nodes.value} nodes; {_ONE_EACH}"
        )
    host = hostlist.expand(environ.get("SLURM_JOB_NODELIST", ""), "SLURM_JOB_NODELIST")[0]
    said = (nodes, values.rank("0", f"the only one, as {name} says"), values.host(host, "SLURM_JOB_NODELIST"))
    return Found("Slurm", said, environ["SLURM_JOB_ID"], _ONE_EACH)
