"""Vertex AI's custom jobs: CLUSTER_SPEC has every replica of each worker pool, the primary one first."""

from __future__ import annotations

from . import clusters, values
from .place import Environ, Found, Read

_POOLS = tuple(f"workerpool{number}" for number in range(4))


def vertex(environ: Environ, read: Read) -> Found | None:
    """Read the replica's place in the cluster; replicas are counted through the pools."""
    if not environ.get("CLUSTER_SPEC"):
        return None
    spec = values.document(environ["CLUSTER_SPEC"], "CLUSTER_SPEC")
    cluster = spec.get("cluster")
    if not isinstance(cluster, dict) or not cluster.keys() & set(_POOLS):
        return None
    return Found("Vertex AI", clusters.place_in(spec, "CLUSTER_SPEC", _POOLS), environ.get("CLOUD_ML_JOB_ID"))
