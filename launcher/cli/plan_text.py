"""A plan as text for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from regiment.distribution.data import InputPlan
from regiment.distribution.environment import is_leftover
from regiment.distribution.plan import NodePlan, Plan

_INDENT = "    "


def plan_text(plan: Plan, environ: Mapping[str, str]) -> str:
    """Tell what every node would do; of the caller's environment only what is kept out is named."""
    return "\n".join(_lines(plan, environ))


def _lines(plan: Plan, environ: Mapping[str, str]) -> Iterator[str]:
    count = len(plan.processes)
    yield f"run {plan.run_id}: {len(plan.nodes)} nodes, {count} processes, distribution {plan.distribution}"
    for node in plan.nodes:
        yield ""
        yield from _node_lines(node)
    leftovers = sorted(name for name in environ if is_leftover(name))
    yield ""
    yield f"every process also gets the environment of its node, but for: {', '.join(leftovers) or 'nothing'}"


def _node_lines(node: NodePlan) -> Iterator[str]:
    place = node.node
    gpus = f", GPUs {','.join(place.gpus)}" if place.gpus else ""
    yield f"{place.node_id}  {place.address}  {place.slots} processes, {place.cpus} CPUs{gpus}"
    yield f"  environment of all its processes ({place.python}'s folder comes first in PATH):"
    yield from (f"{_INDENT}{name}={shlex.quote(value)}" for name, value in sorted(node.environ.items()))
    yield from (f"{_INDENT}{n}={shlex.quote(v)}  unless set" for n, v in sorted(node.defaults.items()))
    yield from (f"  input {_input_text(item)}" for item in node.data.inputs)
    yield from (f"  output {item.name}: {item.path} -> outputs/{item.name}" for item in node.data.outputs)
    if node.launcher is not None:
        yield f"  {node.launcher.name}: {shlex.join(node.launcher.argv)}"
    for process in node.processes:
        yield f"  rank {process.rank} (local rank {process.local_rank}): {shlex.join(process.argv)}"
        yield from (f"{_INDENT}{n}={shlex.quote(v)}" for n, v in sorted(process.environ.items()))


def _input_text(item: InputPlan) -> str:
    where = "" if item.path == item.source else f" -> {item.path}"
    return f"{item.name}: {item.source}{where} ({item.mode.value})"
