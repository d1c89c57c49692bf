"""Stub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regiment.jobs.placement import Node

from .plan import WRAPPER


@dataclass(frozen=True)
class Mpirun:
    """One."""

    path: str
    flavour: str
    version: str


def launcher_environ(mpirun: Mpirun) -> Mapping[str, str]:
    """Give."""
    return {}


def mpirun_argv(mpirun: Mpirun, nodes: tuple[Node, ...], extra: tuple[str, ...]) -> tuple[str, ...]:
    """Give."""
    return (mpirun.path, WRAPPER)


RANK_NAMES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")


def recognised(path: str, version_output: str) -> Mpirun:
    """Give."""
    return Mpirun(path, "x", version_output)
