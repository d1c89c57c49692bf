"""A sweep job: its keys, in every form since 2021.

Since autumn 2021 inputs and compute stand at the top; before, with the trial. Before that the limits had no section
of their own either, and the time limit was in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .bindings import inputs, outputs
from .checks import check_count
from .command_job import COMMON, PROGRAM, SECONDS, job_fields
from .distributions import COUNT, RESOURCES, compute
from .errors import UserError
from .fields import any_case, checked, dropped, number, one_of, scalar, text, whole_number, yes_or_no
from .include import included
from .reading import Key, Reader, Reading, Table, Value, reads
from .search_space import search_space
from .shapes import either, entries_of, section, tagged, then
from .sweep import (
    Bandit,
    EarlyTermination,
    Goal,
    MedianStopping,
    Objective,
    Sampling,
    SamplingKind,
    SamplingRule,
    Sweep,
    SweepLimits,
    TruncationSelection,
)
from .tree import Section


def _check_not_negative(found: float) -> float:
    if found < 0:
        raise UserError(f"expected 0 or more, found {found:g}")
    return found


def _check_percentage(found: int) -> int:
    if not 1 <= found <= 99:
        raise UserError(f"expected a percentage from 1 to 99, found {found}")
    return found


@reads({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, any_case("e")]})
def _logbase(value: Value, reading: Reading) -> float | None:
    """Read the base of logarithms; None for e."""
    if scalar(value, "a number or e").text.lower() == "e":
        return None
    base: float = number(value, reading)
    if base <= 0 or base == 1:
        raise UserError(f"expected a number above 0 that is not 1, or e; found {base:g}")
    return float(base)


_FROM_ZERO = checked(whole_number, _check_not_negative, minimum=0)
_SLACK = checked(number, _check_not_negative, minimum=0)
_GOAL = one_of(Goal)
_OBJECTIVE: Table = {
    "primary_metric": Key(text, "the metric that every trial logs"),
    "goal": Key(_GOAL, "minimize or maximize it"),
}
_SAMPLING: Table = {
    "type": Key(one_of(SamplingKind), "how the next values are chosen"),
    "seed": Key(whole_number, "where the dice start, for the same trials again"),
    "rule": Key(one_of(SamplingRule), "random, or sobol to fill the space evenly"),
    "logbase": Key(_logbase, "base of the exponents of logarithmic parameters (default: e)"),
}
_LIMITS: Table = {
    "max_total_trials": Key(COUNT, "most trials (default: 1000)"),
    "max_concurrent_trials": Key(COUNT, "most trials at a time (default: all)"),
    "timeout": Key(SECONDS, "seconds for the whole sweep"),
    "trial_timeout": Key(SECONDS, "seconds for each trial"),
    "timeout_minutes": Key(SECONDS, "minutes for the whole sweep, in files of 2021"),
}
_POLICY: Table = {
    "type": Key(text, "the rule"),
    "policy_type": Key(text, "the rule, in files of 2021"),
    "evaluation_interval": Key(checked(whole_number, check_count, minimum=1), "check every so many logged values"),
    "delay_evaluation": Key(_FROM_ZERO, "leave the first values out"),
}
_BANDIT: Table = {
    **_POLICY,
    "slack_factor": Key(_SLACK, "how much worse than the best, as a ratio"),
    "slack_amount": Key(_SLACK, "how much worse than the best"),
}
_TRUNCATION: Table = {
    **_POLICY,
    "truncation_percentage": Key(checked(whole_number, _check_percentage, minimum=1, maximum=99), "stop so many"),
    "exclude_finished_jobs": Key(yes_or_no, "leave trials that have ended out of the count"),
}
_POLICIES: Mapping[str, tuple[Reader, type[EarlyTermination]]] = {
    "bandit": (section(_BANDIT), Bandit),
    "median_stopping": (section(_POLICY), MedianStopping),
    "truncation_selection": (section(_TRUNCATION, ("truncation_percentage",)), TruncationSelection),
}


def _read_policy(value: Value, reading: Reading) -> EarlyTermination | None:
    """Read early termination; what is now `type` was `policy_type` in 2021."""
    tree = value.tree
    if isinstance(tree, Section) and "policy_type" in tree.entries and "type" not in tree.entries:
        entries = dict(tree.entries)
        entries["type"] = entries.pop("policy_type")
        value = Value(Section(tree.place, entries), value.place, value.key)
    values = _TAGGED_POLICY(value, reading)
    if values is None:
        return None
    _, kind = _POLICIES[values["type"].lower()]
    if kind is Bandit and len(values.keys() & {"slack_factor", "slack_amount"}) != 1:
        raise UserError("a bandit needs either slack_factor or slack_amount; give one of them")
    if any(found is None for found in values.values()) or (kind is TruncationSelection and len(values) < 2):
        return None
    return kind(**{key: found for key, found in values.items() if key != "type"})


_TAGGED_POLICY = tagged({name: reader for name, (reader, _) in _POLICIES.items()})
_POLICY_SCHEMA = {
    "anyOf": [
        {
            **reader.schema,
            "properties": {
                **reader.schema["properties"],
                "type": any_case(name),
                "policy_type": any_case(name),
            },
            "anyOf": [{"required": ["type"]}, {"required": ["policy_type"]}],
        }
        for name, (reader, _) in _POLICIES.items()
    ]
}


def _sampling_of(values: Mapping[str, Any], _value: Value, _reading: Reading) -> Sampling:
    names = {"type": "kind"}
    return Sampling(**{names.get(key, key): found for key, found in values.items() if found is not None})


_ALGORITHM = either(
    "a name or a mapping",
    single=checked(one_of(SamplingKind), Sampling),
    mapping=then(section(_SAMPLING, ("type",)), _sampling_of),
)
_TRIAL: Table = {
    **PROGRAM,
    "resources": Key(section(RESOURCES), "how many nodes each trial has"),
    "inputs": Key(inputs, "what the trials are given, in files of 2021"),
    "outputs": Key(outputs, is_offered=False),
    "compute": Key(compute, "where the trials run, in files of 2021"),
    "$schema": Key(dropped, is_offered=False),
    "type": Key(text, is_offered=False),
    "name": Key(dropped, is_offered=False),
    "display_name": Key(dropped, is_offered=False),
    "description": Key(dropped, is_offered=False),
    "experiment_name": Key(dropped, is_offered=False),
    "tags": Key(dropped, is_offered=False),
}
SWEEP_JOB: Table = {
    **COMMON,
    "trial": Key(included(section(_TRIAL, ("command",))), "the job that is run with different values"),
    "search_space": Key(search_space, "what varies, in the command as ${{search_space.NAME}}"),
    "objective": Key(section(_OBJECTIVE, ("primary_metric", "goal")), "what the sweep is for"),
    "sampling_algorithm": Key(_ALGORITHM, "how the next values are chosen (default: random)"),
    "algorithm": Key(_ALGORITHM, "the same, in files of 2021"),
    "limits": Key(section(_LIMITS), "how much the sweep may use"),
    "early_termination": Key(Reader(_read_policy, _POLICY_SCHEMA), "when a trial is not worth going on with"),
    "max_total_trials": Key(COUNT, "most trials, in files of 2021"),
    "max_concurrent_trials": Key(COUNT, "most trials at a time, in files of 2021"),
    "timeout_minutes": Key(SECONDS, "minutes for the whole sweep, in files of 2021"),
}

# What may stand at the top or with the trial.
_MOVED = ("inputs", "outputs", "compute", "resources")


def _read(values: Mapping[str, Any], value: Value, reading: Reading) -> dict[str, Any]:
    """Make the fields of the spec: those of one trial, and the sweep."""
    places = entries_of(value)
    trial = values.get("trial") or {}
    inner = _trial_places(places.get("trial"), trial)
    for key in _MOVED:
        if key in values and key in trial:
            reading.fault(inner[key], f"stands at the top of the file too; keep the '{key}' there")
    fields = job_fields({**values, **trial}, {**places, **inner}, reading, values.get("search_space") or {})
    limits = _limits(values, places, reading)
    fields["timeout"] = limits.get("trial_timeout")
    fields["sweep"] = Sweep(
        search_space=values.get("search_space") or {},
        objective=_objective(values.get("objective") or {}),
        sampling=_one(values, places, reading, "sampling_algorithm", "algorithm") or Sampling(),
        limits=SweepLimits(
            limits.get("max_total_trials") or SweepLimits.max_total_trials,
            limits.get("max_concurrent_trials"),
            limits.get("timeout"),
        ),
        early_termination=values.get("early_termination"),
    )
    return fields


def _trial_places(place: Value | None, trial: Mapping[str, Any]) -> dict[str, Value]:
    """Give the places of a trial's values; those of a trial in a file of its own are where its `file:` stands."""
    if place is None:
        return {}
    found = entries_of(place)
    return {key: found.get(key, place) for key in trial}


def _objective(values: Mapping[str, Any]) -> Objective:
    return Objective(values.get("primary_metric") or "", values.get("goal") or Goal.MINIMIZE)


def _limits(values: Mapping[str, Any], places: Mapping[str, Value], reading: Reading) -> dict[str, Any]:
    limits = dict(values.get("limits") or {})
    for key in ("max_total_trials", "max_concurrent_trials", "timeout_minutes"):
        if key in values and key in limits:
            reading.fault(places[key], f"stands under limits too; keep 'limits.{key}'")
        limits.setdefault(key, values.get(key))
    minutes = limits.get("timeout_minutes")
    if minutes and limits.get("timeout"):
        reading.fault(places["limits"], "timeout and timeout_minutes are both given; keep timeout, in seconds")
    if minutes:
        limits["timeout"] = minutes * 60.0
    return limits


def _one(values: Mapping[str, Any], places: Mapping[str, Value], reading: Reading, name: str, older: str) -> Any:
    if name in values and older in values:
        reading.fault(places[older], f"the older name of '{name}', which is given too; keep that")
    return values.get(name) or values.get(older)


sweep_job: Reader = then(section(SWEEP_JOB, required=("trial", "search_space", "objective")), _read)
"""Reads a sweep job, as the fields of its spec."""
