"""The names in a job's expressions: every one must be something that the job has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .expressions import find_expressions, has_unclosed, rewrite_single_braces
from .reading import Reading, Value
from .shapes import entries_of
from .spec import ShellCommand
from .tree import Scalar

Names = Mapping[str, Mapping[str, Any] | None]
"""What the job has, by the first part of a name: `inputs`, `outputs`, `search_space`; None where there can be none."""


def read_expressions(
    values: Mapping[str, Any], places: Mapping[str, Value], names: Names, reading: Reading
) -> dict[str, Any]:
    """Give the command and the environment variables with single braces rewritten, all their names checked."""
    fields: dict[str, Any] = {}
    if values.get("command"):
        fields["command"] = ShellCommand(_read(values["command"], places["command"], names, reading))
    if values.get("environment_variables"):
        inner = entries_of(places["environment_variables"])
        fields["environment_variables"] = {
            name: text and _read(text, inner.get(name, places["environment_variables"]), names, reading)
            for name, text in values["environment_variables"].items()
        }
    return fields


def _read(written: str, value: Value, names: Names, reading: Reading) -> str:
    text = rewrite_single_braces(written)
    if text != written:
        reading.note(value, "single braces are deprecated; write ${{inputs.NAME}} instead of {inputs.NAME}")
    if has_unclosed(text):
        reading.fault(reading.find(value, "${{"), "a '${{' is not closed; write ${{inputs.NAME}}")
    for name in find_expressions(text):
        complaint = _complaint(name, names, reading)
        if complaint:
            reading.fault(_place(name, value, reading), f"'${{{{{name}}}}}' {complaint}")
    return text


def _complaint(name: str, names: Names, reading: Reading) -> str | None:
    kind, _, rest = name.partition(".")
    if kind not in names:
        return "is no expression of a job; write ${{inputs.NAME}}, ${{outputs.NAME}} or ${{search_space.NAME}}"
    known = names[kind]
    if known is None:
        return f"stands for nothing: only a sweep has a {kind}"
    if rest in known:
        return None
    if not known:
        return f"stands for nothing, for the job has no {kind}; add '{kind}:' with '{rest}'"
    return f"stands for nothing; {reading.guess(rest, known)}"


def _place(name: str, value: Value, reading: Reading) -> Value:
    """Give the value with the line of an expression, which a long command has further down."""
    if not isinstance(value.tree, Scalar):
        return value
    for spelling in (f"{{{name}}}", name):
        found = reading.find(value, spelling)
        if found is not value:
            return found
    return value
