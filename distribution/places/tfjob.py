"""TF_CONFIG, which Kubeflow's TFJob and other systems give each node of a TensorFlow job."""

from __future__ import annotations

from regiment.jobs.errors import UserError

from . import clusters, values
from .place import Environ, Found, Read

_KINDS = ("chief", "master", "worker", "ps")
"""In the order of Regiment's own ranks; an evaluator is in no cluster."""


def tfjob(environ: Environ, read: Read) -> Found | None:
    """Read the node's task and its cluster."""
    # Vertex AI says all of it in CLUSTER_SPEC, and more: its evaluators, which are nodes too, are in no TF_CONFIG.
    if not environ.get("TF_CONFIG") or "workerpool0" in environ.get("CLUSTER_SPEC", ""):
        return None
    spec = values.document(environ["TF_CONFIG"], "TF_CONFIG")
    if "cluster" not in spec:
        return None
    task = spec.get("task")
    if isinstance(task, dict) and task.get("type") == "evaluator":
        raise UserError(
            "TF_CONFIG makes this node an evaluator, which is none of the cluster; ask for one with --evaluator, "
            "and leave it out of the TFJob"
        )
    return Found("TF_CONFIG", clusters.place_in(spec, "TF_CONFIG", _KINDS))
