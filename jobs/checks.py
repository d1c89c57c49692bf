"""Rules for values that a job file and the command line have in common.

Each `check_*` gives the value back or raises a UserError, a sentence without the place it is about: the caller
knows whether that is a line or a flag.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import UserError
from .spec import TensorFlow
from .words import counted
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
# What Regiment passes to mpirun itself, or what would undo that, in the words of Open MPI and Hydra; each takes its
# flags with one dash or two.
_COUNTING_MPIRUN_FLAGS = frozenset("c n np N npernode npersocket pernode ppn perhost grr".split())
_MPIRUN_SETTINGS = frozenset("mca gmca prtemca".split())
_OWN_MPIRUN_FLAGS = frozenset(
    """
    H host hosts hostfile machine machinefile default-hostfile add-host add-hostfile f app configfile
    launcher launcher-exec bootstrap bootstrap-exec rmk leave-session-attached
    wd wdir set-cwd-to-session-dir stdin genvall genvnone envall envnone
    """.split()
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


def check_timeout(seconds: float) -> float:
    """Check a time limit."""
    return _check_seconds(seconds, "a time limit above 0 seconds", seconds > 0)


def check_grace(seconds: float) -> float:
    """Check the time between SIGTERM and SIGKILL."""
    return _check_seconds(seconds, "0 seconds or more", seconds >= 0)


def check_module(name: str) -> str:
    """Check the name of a module to import."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise UserError(f"expected the name of a module, such as torch or numpy.linalg, found '{name[:60]}'")
    return name


def check_torchrun_args(arguments: Sequence[str]) -> tuple[str, ...]:
    """Check what is to be passed on to torchrun; the first fault is raised."""
    return _check_each(arguments, torchrun_complaint)


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


def check_mpirun_args(arguments: Sequence[str]) -> tuple[str, ...]:
    """Check what is to be passed on to mpirun; the first fault is raised."""
    return _check_each(arguments, mpirun_complaint)


def mpirun_complaint(arguments: Sequence[str], index: int) -> str | None:
    """Say what is wrong with one of the arguments for mpirun, or None.

    How many values a flag takes only mpirun knows: a word after a flag may be one.
    """
    argument = arguments[index]
    if argument == ":" or (index == 0 and not argument.startswith("-")):
        return f"expected a flag of mpirun, found '{argument[:60]}'; the program and its arguments go under 'command'"
    if not argument.startswith("-"):
        return None
    flag = argument.split("=", 1)[0]
    name = flag.removeprefix("-").removeprefix("-")
    if name in _MPIRUN_SETTINGS and any(word.startswith("plm") for word in arguments[index + 1 : index + 2]):
        return f"Regiment sets {flag} {arguments[index + 1][:60]} itself, to reach the nodes; remove it"
    if name in _COUNTING_MPIRUN_FLAGS:
        use = "resources.instance_count and process_count_per_instance, or --nodes and --nproc"
        return f"Regiment sets {flag[:60]} itself; remove it, and use {use}"
    if name in _OWN_MPIRUN_FLAGS:
        return f"Regiment sets {flag[:60]} itself, from the job's nodes and processes; remove it"
    return None


def default_experiment_name(folder: Path) -> str:
    """Make a legal experiment name of a folder's, as Azure ML does; `Default` where nothing of it is left."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", "".join(folder.name.split()))
    return name.lstrip("._-")[:128] or "Default"


def _check_each(
    arguments: Sequence[str], complaint_about: Callable[[Sequence[str], int], str | None]
) -> tuple[str, ...]:
    for index in range(len(arguments)):
        complaint = complaint_about(arguments, index)
        if complaint:
            raise UserError(complaint)
    return tuple(arguments)


def _check_seconds(seconds: float, wanted: str, holds: bool) -> float:
    if not holds or not math.isfinite(seconds):
        raise UserError(f"expected {wanted}, found {seconds:g}")
    if seconds > LONGEST_TIME:
        raise UserError(f"expected at most {LONGEST_TIME:,} seconds, found {seconds:,g}")
    return float(seconds)
