"""A node's place, put together from what a person says and what the node's system says."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import UserError

from .awsbatch import aws_batch
from .azure import azure_batch, azure_ml
from .explicit import explicit
from .kubeflow import kubeflow
from .kubernetes import kubernetes
from .mpijob import mpijob
from .place import Environ, Found, Place, Read
from .ray import ray
from .sagemaker import sagemaker
from .slurm import slurm
from .tfjob import tfjob
from .together import put_together
from .vertex import vertex

Parser = Callable[[Environ, Read], Found | None]

SYSTEMS: dict[str, Parser] = {
    "Slurm": slurm,
    "Kubeflow": kubeflow,
    "Kubeflow MPIJob": mpijob,
    "Kubernetes": kubernetes,
    "AWS Batch": aws_batch,
    "SageMaker": sagemaker,
    "Vertex AI": vertex,
    "Azure ML": azure_ml,
    "Azure Batch": azure_batch,
    "TF_CONFIG": tfjob,
    "Ray": ray,
}
"""Whom a node may belong to; a node may belong to several, which then have to agree."""
_IN_RUNS = frozenset(("Azure ML", "Azure Batch", "TF_CONFIG", "Ray"))
"""Those whose variables a process of a run has too: there they tell that process's place, not a node's."""


@dataclass(frozen=True)
class Explanation:
    """What was found, and what follows from it: a place, or why there is none."""

    found: tuple[Found, ...]
    """Flags and variables first, then each system that says something."""
    place: Place | None
    error: str | None = None


def find_place(environ: Environ, flags: Mapping[str, str | None], read: Read) -> Place:
    """Find this node's place.

    Args:
        environ: the process's environment.
        flags: the texts of the flags that were given, as `nodes`, `node_rank`, `master` and `key_file`.
        read: gives a file's text by its path, or None.

    Raises:
        UserError: it is not known, or not for sure; the message says what to do.
    """
    explanation = explain(environ, flags, read)
    if explanation.place is None:
        raise UserError(explanation.error or "this node's place is not known")
    return explanation.place


def explain(environ: Environ, flags: Mapping[str, str | None], read: Read) -> Explanation:
    """Give all that was found, whether a place comes of it or not."""
    try:
        by_person = explicit(environ, flags)
    except UserError as error:
        return Explanation(_systems(environ, read), None, str(error))
    systems = _systems(environ, read)
    found = tuple(item for item in by_person if item.said) + systems
    try:
        return Explanation(found, put_together(by_person + systems))
    except UserError as error:
        return Explanation(found, None, str(error))


def _systems(environ: Environ, read: Read) -> tuple[Found, ...]:
    found = []
    for name, parse in SYSTEMS.items():
        if name in _IN_RUNS and "REGIMENT_RUN_ID" in environ:
            continue
        try:
            answer = parse(environ, read)
        except UserError as error:
            # Only a fault where nobody has said what it would have told.
            answer = Found(name, fault=str(error))
        if answer is not None:
            found.append(answer)
    return tuple(found)
