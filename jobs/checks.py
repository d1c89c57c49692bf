"""Rules for values that a job file and the command line have in common.

Each `check_*` gives the value back or raises a UserError, a sentence without the place it is about: the caller
knows whether that is a line or a flag.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from .errors import UserError
from .spec import TensorFlow
from .workspace import NAME_RULE, is_name

MOST_PROCESSES = 100_000
"""Most nodes of a run, most processes of a node, and most processes of a run."""
LONGEST_TIME = 1_000_000_000
"""Most seconds that a time limit or a grace may have; about 31 years, and every clock still holds it."""

# What Regiment passes to torchrun itself. torchrun takes any beginning of a flag that fits just one, so beginnings
# of these are refused too; none of its other flags is one.
_OWN_TORCHRUN_FLAGS = (
    "--nnodes",
    "--node-rank",
    "--nproc-per-node",
    "--master-addr",
    "--master-port",
    "--standalone",
    "--no-python",
    "--module",
    "--run-path",
)


def check_name(text: str) -> str:
    """Check the name of a run or an experiment."""
    if not is_name(text):
        raise UserError(f"'{text[:60]}' cannot be a name here; a name is {NAME_RULE}")
    return text


def check_count(number: int) -> int:
    """Check a number of nodes or of processes."""
    if number < 1:
        raise UserError(f"expected at least 1, found {number}")
    if number > MOST_PROCESSES:
        raise UserError(f"expected at most {MOST_PROCESSES:,}, found {number:,}")
    return number


def check_process_total(nodes: int, processes_per_node: int) -> None:
    """Check that a run does not get more processes than a plan can hold."""
    total = nodes * processes_per_node
    if total > MOST_PROCESSES:
        found = f"{nodes:,} nodes with {processes_per_node:,} processes each are {total:,}"
        raise UserError(f"expected at most {MOST_PROCESSES:,} processes in all; {found}")


def check_tasks(distribution: TensorFlow, nodes: int) -> None:
    """Check that a TensorFlow job has something to do for each of its nodes, and not more than a plan can hold."""
    total = distribution.task_count
    check_process_total(1, total)
    if total < nodes:
        kinds = (
            ("chief", int(distribution.chief)),
            ("worker", distribution.worker_count),
            ("parameter server", distribution.parameter_server_count),
            ("evaluator", int(distribution.evaluator)),
        )
        named = ", ".join(counted(number, kind) for kind, number in kinds if number)
        found = f"{counted(total, 'task')} ({named}) for {nodes:,} nodes"
        raise UserError(f"expected at least one task a node, found {found}; ask for fewer nodes, or for more workers")


def counted(number: int, noun: str) -> str:
    """Give a number of things in words, such as `1 worker` and `2 workers`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def check_timeout(seconds: float) -> float:
    """Check a time limit."""
    return _check_seconds(seconds, "a time limit above 0 seconds", seconds > 0)


def check_grace(seconds: float) -> float:
    """Check the time between SIGTERM and SIGKILL."""
    return _check_seconds(seconds, "0 seconds or more", seconds >= 0)


def check_torchrun_args(arguments: Sequence[str]) -> tuple[str, ...]:
    """Check what is to be passed on to torchrun; the first fault is raised."""
    for index in range(len(arguments)):
        complaint = torchrun_complaint(arguments, index)
        if complaint:
            raise UserError(complaint)
    return tuple(arguments)


def torchrun_complaint(arguments: Sequence[str], index: int) -> str | None:
    """Say what is wrong with one of the arguments for torchrun, or None."""
    argument = arguments[index]
    if not argument.startswith("-") or argument in ("-", "--"):
        before = arguments[index - 1] if index else ""
        if before.startswith("-") and "=" not in before and before not in ("-", "--"):
            return None
        return f"expected a flag of torchrun, found '{argument[:60]}'; the program and its arguments go under 'command'"
    flag = argument.split("=", 1)[0].replace("_", "-")
    if not argument.startswith("--"):
        is_own = flag.startswith("-m")
    else:
        is_own = flag.startswith("--rdzv") or any(own.startswith(flag) for own in _OWN_TORCHRUN_FLAGS)
    if is_own:
        return f"Regiment sets {argument.split('=', 1)[0][:60]} itself, from the job's nodes and processes; remove it"
    return None


def default_experiment_name(folder: Path) -> str:
    """Make a legal experiment name of a folder's, as Azure ML does; `Default` where nothing of it is left."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", "".join(folder.name.split()))
    return name.lstrip("._-")[:128] or "Default"


def _check_seconds(seconds: float, wanted: str, holds: bool) -> float:
    if not holds or not math.isfinite(seconds):
        raise UserError(f"expected {wanted}, found {seconds:g}")
    if seconds > LONGEST_TIME:
        raise UserError(f"expected at most {LONGEST_TIME:,} seconds, found {seconds:,g}")
    return float(seconds)
