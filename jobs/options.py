"""The job file's `regiment:` key: what Azure's schema lacks, and which of it goes with which distribution."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .checks import check_count, check_grace, check_module, mpirun_complaint, torchrun_complaint
from .complaints import check_prefix
from .container import container
from .errors import UserError
from .fields import checked, number, one_of, text, whole_number, word, yes_or_no
from .reading import Key, Reader, Reading, Table, Value
from .sbatch import sbatch_options
from .shapes import list_of, section, then
from .spec import Binding, Options, StartMethod, StopWhen
from .supervision import count, early_exit, restarts, seconds
from .tree import ItemList

_NODES = re.compile(r"(\d{1,9}):(\d{1,9})", re.ASCII)


def is_elastic(written: str) -> bool:
    """Say whether this has the form `MIN:MAX`."""
    return _NODES.fullmatch(written) is not None


def check_elastic_nodes(written: str) -> tuple[int, int]:
    """Read `MIN:MAX`, the fewest and the most nodes of an elastic job."""
    found = _NODES.fullmatch(written)
    if not found:
        raise UserError(f"expected MIN:MAX, such as 1:4, found '{written[:60]}'")
    fewest, most = (check_count(int(part)) for part in found.groups())
    if fewest > most:
        raise UserError(f"expected MIN:MAX with the smaller number first, found {written}")
    return fewest, most


def _check_rank(rank: int) -> int:
    if rank < 0:
        raise UserError(f"expected a rank, 0 or more, found {rank}")
    return rank


def _flags(complaint_about: Callable[[Sequence[str], int], str | None]) -> Reader:
    """Make a reader of arguments for another program, each of which may have a complaint about it."""

    def check(arguments: tuple[str | None, ...], value: Value, reading: Reading) -> tuple[str, ...]:
        assert isinstance(value.tree, ItemList)
        items = [value.item(index, tree) for index, tree in enumerate(value.tree.items)]
        known = tuple(argument if argument is not None else "-" for argument in arguments)
        for index, argument in enumerate(arguments):
            complaint = complaint_about(known, index) if argument is not None else None
            if complaint:
                reading.fault(items[index], complaint)
        return known

    return then(_WORDS, check)


_WORDS = list_of(word)
_RANK = checked(whole_number, _check_rank, minimum=0)
_TABLE: Table = {
    "start_method": Key(one_of(StartMethod), "how the processes of a PyTorch job start (default: torchrun)"),
    "preload": Key(list_of(checked(word, check_module)), "modules imported once a node for fork (default: [torch])"),
    "torchrun_args": Key(_flags(torchrun_complaint), "more flags for torchrun"),
    "nodes": Key(checked(word, check_elastic_nodes), "MIN:MAX nodes of an elastic PyTorch job; it goes on with MIN"),
    "chief": Key(yes_or_no, "a TensorFlow job has a chief besides its workers (default: false)"),
    "evaluator": Key(yes_or_no, "a TensorFlow job has an evaluator besides its workers (default: false)"),
    "stop_when": Key(one_of(StopWhen), "which tasks of a TensorFlow job have to complete (default: chief, or workers)"),
    "mpirun": Key(text, "the mpirun to use, as a path or a name in PATH (default: the first found)"),
    "mpirun_args": Key(_flags(mpirun_complaint), "more flags for mpirun"),
    "prefix": Key(checked(_WORDS, check_prefix), "what starts each process, such as [strace, -f]"),
    "prefix_ranks": Key(
        list_of(checked(whole_number, _check_rank, minimum=0)), "the ranks prefix is for (default: all)"
    ),
    "bind": Key(one_of(Binding), "the processors each process is bound to (default: none)"),
    "grace": Key(checked(number, check_grace, minimum=0), "seconds between SIGTERM and SIGKILL (default: 30)"),
    "restarts": Key(restarts, "how often the processes are started again after a failure (default: 0)"),
    "early_exit": Key(early_exit, "what is done when some processes have ended well and the others go on"),
    "preemption_grace": Key(seconds, "seconds from a preemption notice until the processes are stopped"),
    "requeue": Key(count, "how often Slurm gets the job again after a preemption or a lost node (default: 0)"),
    "ledger": Key(yes_or_no, "Pythons tell of their imports, rendezvous and first step (default: false)"),
    "container": Key(container, "the container of each node on Slurm"),
    "slurm": Key(sbatch_options, "options of sbatch by their long names, for a compute target of type slurm"),
}
options: Reader = section(_TABLE)
_OF_DISTRIBUTION = ("chief", "evaluator")
"""Keys that the spec has among the tasks of a TensorFlow job."""


def make_options(found: Mapping[str, Any]) -> Options:
    """Make the options from the values that were read."""
    values = {key: value for key, value in found.items() if key not in ("nodes", *_OF_DISTRIBUTION)}
    if found.get("nodes"):
        values["min_nodes"] = found["nodes"][0]
    return Options(**values)
