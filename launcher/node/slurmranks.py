"""How ranks that Slurm's daemons start find their node's agent: by a file of each node's in the run folder all share.

srun gives the same words and the same environment to all nodes, and nothing of what a node's agent is told comes with
them. The file has no secret in it: the agent asks the system whose process it is that has come.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from regiment.distribution.slurm.hosts import host_names
from regiment.jobs.files import private_folder, replace_file

_TRIES = 600
"""Looks, a tenth of a second apart, for a node's file: its agent may be late, but then the run has begun or is over."""
_FIND = (
    # A network's disk remembers for a while that there was no such file, unless its folder is looked at.
    f'n={_TRIES}; until ls "$0" > /dev/null 2>&1 && [ -r "$0/$SLURMD_NODENAME" ]; do '
    'n=$((n - 1)); [ $n -gt 0 ] || { echo "regiment: $0/$SLURMD_NODENAME has not come; do all nodes share it?" >&2; '
    'exit 1; }; sleep 0.1; done; . "$0/$SLURMD_NODENAME"'
)


def finding_stand_in(logs: Path) -> tuple[str, ...]:
    """Give the command that becomes the stand-in for a rank of whichever node it starts on."""
    return ("/bin/sh", "-c", _FIND, str(_folder(logs)))


def tell_ranks(logs: Path, environ: Mapping[str, str], stand_in: Sequence[str]) -> None:
    """Write down for the ranks of this node how they find its agent."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environ.items()]
    name = os.environ["SLURMD_NODENAME"]
    replace_file(private_folder(_folder(logs)) / name, f"{''.join(lines)}exec {shlex.join(stand_in)}\n")


def write_tasks(path: str, tasks: Sequence[int]) -> None:
    """Write down for srun on which node each rank is to be."""
    names = host_names(os.environ["SLURM_STEP_NODELIST"])
    lines = (f"{name}\n" * count for name, count in zip(names, tasks, strict=True))
    replace_file(Path(path), "".join(lines))


def _folder(logs: Path) -> Path:
    return logs.parent / "nodes"
