"""Values, and the parameters of a sweep, written as the job file has them in its current form."""

from __future__ import annotations

import json
from typing import Any

from .data import LiteralInput
from .sweep import Choice, Conditional, Normal, Parameter, RandInt, Uniform


def plain_parameter(parameter: Parameter | LiteralInput | Conditional) -> Any:
    """Write a parameter as the job file has it."""
    match parameter:
        case LiteralInput():
            return plain_literal(parameter)
        case Conditional(parameters):
            return {name: plain_parameter(inner) for name, inner in parameters.items()}
        case Choice(values):
            return {"type": "choice", "values": [plain_parameter(value) for value in values]}
        case RandInt(upper):
            return {"type": "randint", "upper": upper}
        case Uniform(low, high, q, is_log):
            return {"type": _name("uniform", q, is_log), "min_value": low, "max_value": high} | _step(q)
        case Normal(mu, sigma, q, is_log):
            return {"type": _name("normal", q, is_log), "mu": mu, "sigma": sigma} | _step(q)


def plain_literal(literal: LiteralInput) -> str | int | float | bool:
    """Write a value so that the command will get the same text again: 0.10, 1_000 and yes can only stay as text."""
    is_usual = isinstance(literal.value, str) or json.dumps(literal.value) == literal.text
    return literal.value if is_usual else literal.text


def _name(name: str, q: float | None, is_log: bool) -> str:
    return ("q" if q is not None else "") + ("log" if is_log else "") + name


def _step(q: float | None) -> dict[str, float]:
    return {} if q is None else {"q": q}
