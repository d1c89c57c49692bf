"""Which of the planned processes a launcher has just started, and what that one gets besides what the launcher set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from regiment.distribution.environment import TORCHRUN_SETS, elastic_variables
from regiment.distribution.plan import LauncherKind, LauncherPlan, ProcessPlan

from .programs import Programs

if TYPE_CHECKING:
    from .ranks import Rank

Given = Mapping[str, Any]
"""What its launcher set for a process, by name."""


def launched_rank(launcher: LauncherPlan, given: Given, ranks: Mapping[int, Rank]) -> Rank | None:
    """Find the process that a launcher means; None where it is none of this node's."""
    match launcher.kind:
        case LauncherKind.TORCHRUN:
            # An elastic torchrun's ranks are not the planned ones, but the places on a node are.
            local_rank = number(given.get("LOCAL_RANK"))
            return next((rank for rank in ranks.values() if rank.plan.local_rank == local_rank), None)
        case LauncherKind.MPIRUN:
            return ranks.get(number(given.get(launcher.rank_name)))


def kept_variables(launcher: LauncherPlan, given: Given) -> dict[str, str]:
    """Give those of the variables around a launcher's process that it has set for it."""
    return {name: value for name, value in given.items() if name.startswith(launcher.sets) and isinstance(value, str)}


def launched_variables(
    launcher: LauncherPlan, given: Given, programs: Programs, process: ProcessPlan
) -> dict[str, str]:
    """Give the variables that go over those the launcher has set."""
    match launcher.kind:
        case LauncherKind.MPIRUN:
            # What a flavour of MPI passes on from node 0 differs; what is right here does not.
            return programs.environ(process.environ, programs.shared_places(launcher))
        case LauncherKind.TORCHRUN:
            environ = {name: value for name, value in process.environ.items() if name not in TORCHRUN_SETS}
            if launcher.is_elastic:
                rank, node, count = (str(given.get(name)) for name in ("RANK", "GROUP_RANK", "GROUP_WORLD_SIZE"))
                environ |= elastic_variables(rank, node, count)
            return environ


def number(text: object) -> int:
    """Read one of the numbers that a launcher gives; -1 for what is none."""
    return int(text) if isinstance(text, str) and text.isdigit() else -1
