"""Stub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regiment.jobs.placement import Node

from .plan import REMOTE_SHELL, WRAPPER


@dataclass(frozen=True)
class Mpirun:
    """One."""

    path: str
    flavour: str
    version: str


def launcher_environ(mpirun: Mpirun) -> Mapping[str, str]:
    """Give."""
    return {
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "OMPI_MCA_pml": "ob1",
        "OMPI_MCA_btl": "self,sm,tcp",
        "OMPI_MCA_btl_tcp_if_include": "lo",
        "PRTE_MCA_prte_tmpdir_base": "{temporary}",
    }


def mpirun_argv(mpirun: Mpirun, nodes: tuple[Node, ...], extra: tuple[str, ...]) -> tuple[str, ...]:
    """Give."""
    hosts = ",".join(f"{node.node_id}:{node.slots}" for node in nodes)
    return (
        mpirun.path,
        "--allow-run-as-root",
        "--prtemca",
        "plm",
        "ssh",
        "--prtemca",
        "plm_ssh_agent",
        REMOTE_SHELL,
        "--prtemca",
        "plm_ssh_no_tree_spawn",
        "1",
        "--host",
        hosts,
        "-np",
        str(sum(node.slots for node in nodes)),
        "--map-by",
        "slot",
        "--bind-to",
        "none",
        "--stdin",
        "none",
        "--leave-session-attached",
        "--wdir",
        "/",
        *extra,
        WRAPPER,
    )


RANK_NAMES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")


def recognised(path: str, version_output: str) -> Mpirun:
    """Give."""
    return Mpirun(path, "x", version_output)
