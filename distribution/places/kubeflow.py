"""Kubeflow's PyTorchJob and Trainer, which set torchrun's own variables for each node."""

from __future__ import annotations

from . import values
from .place import Environ, Found, Read, Said

_ELASTIC = "an elastic job names no node ranks: leave its elasticPolicy out, or set REGIMENT_NODE_RANK"


def kubeflow(environ: Environ, read: Read) -> Found | None:
    """Read torchrun's variables: PET_ before the name of its flag."""
    if not environ.keys() & {"PET_NODE_RANK", "PET_NNODES", "PET_RDZV_ENDPOINT"}:
        return None
    said: list[Said] = []
    nodes = environ.get("PET_NNODES", "")
    if nodes and ":" not in nodes:
        said.append(values.count(nodes, "PET_NNODES"))
    if "PET_NODE_RANK" in environ:
        said.append(values.rank(environ["PET_NODE_RANK"], "PET_NODE_RANK"))
    if "PET_MASTER_ADDR" in environ:
        said.append(values.host(environ["PET_MASTER_ADDR"], "PET_MASTER_ADDR"))
        if "PET_MASTER_PORT" in environ:
            said.append(values.port(environ["PET_MASTER_PORT"], "PET_MASTER_PORT"))
    elif environ.get("PET_RDZV_ENDPOINT"):
        said += values.endpoint(environ["PET_RDZV_ENDPOINT"], "PET_RDZV_ENDPOINT")
    return Found("Kubeflow", tuple(said), None, _ELASTIC if "PET_NODE_RANK" not in environ else None)
