"""Ray: a worker of Ray Train has its place; other actors, tasks and Ray's own containers have none."""

from __future__ import annotations

from regiment.jobs.errors import UserError

from . import values
from .place import Environ, Found, Read, Said

_WORKERS = ("RAY_JOB_ID", "RAY_RAYLET_PID")
_TRAIN = ("WORLD_SIZE", "NODE_RANK")
_ADVICE = (
    "Ray itself numbers no nodes: start the agent from Ray Train with one worker a node, or set REGIMENT_NODES, "
    "REGIMENT_NODE_RANK and REGIMENT_MASTER"
)


def ray(environ: Environ, read: Read) -> Found | None:
    """Read the variables that Ray Train sets for PyTorch in each of its workers."""
    if not environ.keys() & {*_WORKERS, "RAY_ADDRESS", "FQ_RAY_IP"}:
        return None
    if not all(name in environ for name in _TRAIN) or not environ.keys() & set(_WORKERS):
        return Found("Ray", advice=_ADVICE)
    if environ.get("LOCAL_WORLD_SIZE", "1") != "1":
        raise UserError("several of Ray Train's workers are on this node; use one a node, with all of its resources")
    said: list[Said] = [
        values.count(environ["WORLD_SIZE"], "WORLD_SIZE"),
        values.rank(environ["NODE_RANK"], "NODE_RANK"),
    ]
    if environ.get("MASTER_ADDR"):
        said.append(values.host(environ["MASTER_ADDR"], "MASTER_ADDR"))
    # At MASTER_PORT Ray's own first worker listens already.
    return Found("Ray Train", tuple(said), environ.get("RAY_JOB_ID"), _ADVICE)
