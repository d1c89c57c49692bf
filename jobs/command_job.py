"""A command job: its keys, in every form since 2021, and the spec they add up to.

The keys are those of Azure ML's command job schema, each with the spellings that released versions had for it, so
that files that mix them are read too; what Azure's schema lacks stands under `regiment`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .bindings import inputs, outputs
from .checks import check_name, check_timeout
from .code import code
from .complaints import complaints
from .distributions import RESOURCES, compute, compute_name, distribution, read_distribution, read_nodes
from .environments import environment
from .errors import UserError
from .fields import checked, dropped, not_used, number, or_nothing, text, word
from .names import read_expressions
from .options import make_options, options
from .program import check_script
from .reading import Key, Reader, Reading, Table, Value
from .shapes import entries_of, map_of, section, then


def _check_command(found: str) -> str:
    if not found.strip():
        raise UserError("the command is empty; write the command line that starts the program")
    return found


def _check_variable(name: str) -> None:
    if not name or "=" in name:
        raise UserError("this cannot be the name of an environment variable; write NAME: value")


NAME: Reader = checked(text, check_name)
SECONDS: Reader = checked(number, check_timeout, exclusiveMinimum=0)
WORDS: Reader = map_of(or_nothing(word))
VARIABLES: Reader = map_of(word, _check_variable)

_LIMITS: Table = {"timeout": Key(SECONDS, "seconds after which the run is cancelled")}

_WRITTEN_BY_AZURE = (
    "status creation_context id log_files parameters interaction_endpoints metadata output resourceGroup"
)
# What both kinds of jobs have.
COMMON: Table = {
    "$schema": Key(dropped, "where an editor finds the schema", is_offered=False),
    "\\$schema": Key(dropped, is_offered=False),  # a shell's quoting, found in real files
    "type": Key(text, "the kind of job"),
    "name": Key(NAME, "the run's id; made from experiment and time if left out"),
    "display_name": Key(text, "a name for people"),
    "experiment_name": Key(NAME, "what the run belongs to (default: the current folder's name)"),
    "description": Key(text, "kept in the record"),
    "tags": Key(WORDS, "kept in the record"),
    "properties": Key(WORDS, "kept in the record"),
    "inputs": Key(inputs, "values and data for the command, where they stand as ${{inputs.NAME}}"),
    "outputs": Key(outputs, "folders for results, in the command as ${{outputs.NAME}}"),
    "compute": Key(compute, "where to run: local, or a compute's name (default: local)"),
    "resources": Key(section(RESOURCES), "how many nodes, and of what kind"),
    "regiment": Key(options, "what Azure's schema lacks"),
    "services": Key(not_used, "Azure's services on the nodes"),
    "queue_settings": Key(not_used, "Azure's queues"),
    "identity": Key(not_used, "Azure's identities"),
    "parent_job_name": Key(not_used, "the job this one belongs to"),
    "priority": Key(not_used, is_offered=False),
    # What Azure ML writes into the files it gives out, and does not read.
    **{name: Key(dropped, is_offered=False) for name in _WRITTEN_BY_AZURE.split()},
}
# What a sweep has under `trial`.
PROGRAM: Table = {
    "command": Key(checked(text, _check_command, pattern=r"\S"), "one line for the shell, run by every process"),
    "code": Key(code, "the folder (or file) to snapshot; each node runs in a copy"),
    "environment": Key(environment, "what the processes run in"),
    "environment_variables": Key(VARIABLES, "variables for every process"),
    "distribution": Key(distribution, "how the command becomes several processes"),
}
COMMAND_JOB: Table = {**COMMON, **PROGRAM, "limits": Key(section(_LIMITS), "how long the run may take")}


# Keys that are called the same in the spec.
_DIRECT = (
    "name",
    "display_name",
    "experiment_name",
    "description",
    "tags",
    "properties",
    "environment",
    "environment_variables",
    "inputs",
    "outputs",
)


def _read(values: Mapping[str, Any], value: Value, reading: Reading) -> dict[str, Any]:
    """Make the fields of the spec, and check what several keys say together."""
    fields = job_fields(values, entries_of(value), reading)
    fields["timeout"] = (values.get("limits") or {}).get("timeout")
    return fields


def job_fields(
    values: Mapping[str, Any],
    places: Mapping[str, Value],
    reading: Reading,
    search_space: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the fields that both kinds of jobs have; `places` are the values as written, by their keys.

    Where a value is wrong the fields are too, but then the reading has a fault and nobody uses them.
    """
    nodes = read_nodes(values, places, reading)
    fields: dict[str, Any] = {key: values[key] for key in _DIRECT if key in values}
    names = {"inputs": values.get("inputs") or {}, "outputs": values.get("outputs") or {}}
    fields |= read_expressions(values, places, {**names, "search_space": search_space}, reading)
    fields["compute"] = compute_name(values.get("compute"))
    fields["instance_count"] = nodes
    fields["distribution"] = read_distribution(values, places, nodes, reading)
    fields["options"] = make_options(values.get("regiment") or {})
    _check_options(fields, places, reading)
    found = values.get("code")
    if found is not None:
        fields |= {"code": found.path, "code_url": found.url}
    if reading.paths and values.get("command") and ("code" not in values or (found and found.path)):
        script = places["command"]
        where = Path(found.path) if found else reading.folder_of(script)
        reading.check(script, check_script, values["command"], where, "code" in values)
    return fields


def _check_options(fields: Mapping[str, Any], places: Mapping[str, Value], reading: Reading) -> None:
    if "regiment" not in places or None in (fields["distribution"], fields["options"]):
        return
    keys = entries_of(places["regiment"])
    for key, complaint in complaints(fields["distribution"], fields["options"], keys):
        reading.fault(keys[key], complaint)


command_job: Reader = then(section(COMMAND_JOB, required=("command",)), _read)
"""Reads a command job, as the fields of its spec."""
