"""Options of Slurm's `sbatch` as job files and compute targets give them: by their long names, without the dashes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .errors import UserError
from .fields import scalar
from .reading import Reader, Reading, Value
from .shapes import map_of, then
from .spec import SbatchOptions

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SIZE = "Regiment asks for one agent a node, which starts the processes; use resources.instance_count, or --nodes"
_LOG = "Regiment keeps what the job prints in the run folder, one log a process"
_ONE_JOB = "a run is one ordinary job of Slurm's"
_RUN = "Regiment needs the job's number at once, to watch it; use 'regiment run' with or without --detach"
OURS: Mapping[str, str] = {
    "array": _ONE_JOB,
    "chdir": "the processes run in a copy of the job's code; use code, or cd in the command",
    "clusters": "a workspace's runs are on the cluster that it is on",
    "error": _LOG,
    "het-group": _ONE_JOB,
    "help": _RUN,
    "ignore-pbs": _ONE_JOB,
    "job-name": "the queue has the job under the run's id; use name, or --name",
    "nodefile": "name the nodes with nodelist",
    "nodes": _SIZE,
    "no-kill": "Regiment decides what becomes of a run that has lost a node; regiment.nodes makes it elastic",
    "ntasks": _SIZE,
    "ntasks-per-core": _SIZE,
    "ntasks-per-gpu": _SIZE,
    "ntasks-per-node": _SIZE,
    "ntasks-per-socket": _SIZE,
    "open-mode": _LOG,
    "output": _LOG,
    "parsable": _RUN,
    "test-only": "'regiment plan' shows what would be submitted",
    "usage": _RUN,
    "version": _RUN,
    "wait": _RUN,
    "wrap": "the job's program goes under 'command'",
}
"""Options that are not the user's to give, and why."""


def sbatch_name(name: str) -> str:
    """Give an option's name as sbatch spells it; raises UserError where it is none, or one that is ours to give."""
    found = name.replace("_", "-")
    if name.startswith("-"):
        raise UserError(f"write it without the dashes, as {name.lstrip('-')[:60] or 'partition'!r}")
    if len(found) == 1:
        raise UserError(f"{name!r} is the short name of an option; write the long one, such as 'partition'")
    if not _NAME.fullmatch(found):
        raise UserError(f"{name[:60]!r} is not the name of an option of sbatch")
    if found in OURS:
        raise UserError(f"this one Regiment gives itself: {OURS[found]}")
    return found


def sbatch_value(value: str) -> str:
    """See that a value can stand in a line of a script."""
    if _CONTROL.search(value):
        raise UserError("a value is one line of text")
    return value


def read_flag(text: str) -> tuple[str, str | bool]:
    """Read an option as a flag has it: `NAME=VALUE`, or `NAME` for one that takes no value."""
    name, equals, value = text.partition("=")
    return sbatch_name(name), sbatch_value(value) if equals else True


def _read_value(value: Value, _reading: Reading) -> str | bool:
    found = scalar(value, "the option's value, or true for one that takes none")
    if found.value is None:
        raise UserError("expected the option's value, or true for one that takes none; false leaves it out")
    if isinstance(found.value, bool):
        return found.value
    return sbatch_value(found.text)


def _with_its_names(found: dict[str, Any], value: Value, reading: Reading) -> SbatchOptions:
    # What could not be read is None and has a fault already, as has a name that is none.
    known = {name.replace("_", "-"): option for name, option in found.items() if option is not None}
    if len(known) < sum(option is not None for option in found.values()):
        reading.fault(value, "an option is given twice, once with dashes and once with underscores; remove one")
    return known


sbatch_options: Reader = then(
    map_of(Reader(_read_value, {"type": ["string", "number", "boolean"]}), sbatch_name), _with_its_names
)
