"""Files that are not jobs Regiment runs: recognised, and refused with one sentence each."""

from __future__ import annotations

import re

from .reading import Value
from .shapes import entries_of
from .tree import Scalar, shorten

_RUNS = "Regiment runs jobs of the types command and sweep"
# What the types and schemas of Azure ML's other files are about; the longest name that fits counts.
_KINDS = {
    "automl": "an AutoML job",
    "batch": "an endpoint or a deployment",
    "component": "a component, a part for pipelines",
    "compute": "a compute target; 'regiment compute add' registers one",
    "connection": "a connection",
    "data": "a data asset; 'regiment data add' registers one",
    "datastore": "a datastore",
    "deployment": "a deployment",
    "endpoint": "an endpoint",
    "environment": "an environment",
    "finetuning": "a fine-tuning job",
    "import": "an import job",
    "job_base": "no job by itself",
    "model": "a model",
    "mltable": "a data asset; 'regiment data add' registers one",
    "parallel": "a parallel job",
    "pipeline": "a pipeline",
    "registry": "a registry",
    "schedule": "a schedule",
    "spark": "a Spark job",
    "uri_file": "a data asset; 'regiment data add' registers one",
    "uri_folder": "a data asset; 'regiment data add' registers one",
    "workspace": "a workspace",
}
_SCHEMA = re.compile(r"([A-Za-z0-9_]+)\.schema\.json")
_PRIVATE_KEYS = (
    ("job_type", ""),
    ("distributed", ""),
    ("code", "directory"),
    ("code", "file"),
    ("compute", "node_count"),
    ("limits", "max_total_runs"),
    ("early_termination", "spec"),
)
_PRIVATE = "the private form of 2020, which no released Azure ML reads"


def find_foreign(value: Value) -> tuple[Value, str] | None:
    """Give what tells that a file is of a kind that Regiment does not run, and the sentence about it."""
    for look in (_by_type, _by_schema, _by_keys, _private):
        found = look(value)
        if found is not None:
            return found
    return None


def _by_type(value: Value) -> tuple[Value, str] | None:
    place = entries_of(value).get("type")
    name = _text(place).lower()
    kind = None if name in ("command", "command_job", "sweep", "sweep_job") else _kind_of(name)
    if place is None or kind is None:
        return None
    return place, f"'{shorten(name)}' is {kind}; {_RUNS}"


def _by_schema(value: Value) -> tuple[Value, str] | None:
    entries = entries_of(value)
    place = entries.get("$schema") or entries.get("\\$schema")
    found = _SCHEMA.search(_text(place))
    kind = _kind_of(found.group(1).lower()) if found else None
    if place is None or found is None or kind is None:
        return None
    return place, f"'{shorten(found.group(1))}' says that this is {kind}; {_RUNS}"


def _by_keys(value: Value) -> tuple[Value, str] | None:
    entries = entries_of(value)
    if "jobs" in entries and "command" not in entries:
        return entries["jobs"], f"this is a pipeline; {_RUNS}"
    for key in ("version", "is_deterministic"):
        if key in entries:
            return entries[key], f"'{key}' says that this is {_KINDS['component']}; {_RUNS}"
    if "component" in entries:
        return entries["component"], f"this job runs {_KINDS['component']}; {_RUNS}"
    return None


def _private(value: Value) -> tuple[Value, str] | None:
    """Find what only the form of Microsoft's private preview has."""
    entries = entries_of(value)
    trial = entries_of(entries["trial"]) if "trial" in entries else {}
    for outer, inner in _PRIVATE_KEYS:
        place = trial.get(outer) or entries.get(outer)
        if place is not None and not inner:
            return place, _private_sentence(outer)
        if place is not None and inner in entries_of(place):
            return entries_of(place)[inner], _private_sentence(f"{outer}.{inner}")
    for parameter in _inner(entries.get("search_space")):
        if "spec" in entries_of(parameter):
            return entries_of(parameter)["spec"], _private_sentence("spec")
    return None


def _private_sentence(key: str) -> str:
    return f"'{key}' is of {_PRIVATE}; write the file in the current form, as docs/job-file.md shows it"


def _inner(place: Value | None) -> tuple[Value, ...]:
    return () if place is None else tuple(entries_of(place).values())


def _kind_of(name: str) -> str | None:
    if name.replace("_", "") in ("commandjob", "sweepjob"):
        return None
    fitting = [known for known in _KINDS if known in name]
    return _KINDS[max(fitting, key=len)] if fitting else None


def _text(place: Value | None) -> str:
    return place.tree.text if place is not None and isinstance(place.tree, Scalar) else ""
