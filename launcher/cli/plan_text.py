"""A plan as text for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from regiment.distribution.data import InputPlan
from regiment.distribution.environment import is_leftover
from regiment.distribution.plan import LauncherPlan, NodePlan, Plan, ProcessPlan
from regiment.jobs.words import counted

_INDENT = "    "


def plan_text(plan: Plan, environ: Mapping[str, str]) -> str:
    """Tell what every node would do; of the caller's environment only what is kept out is named."""
    return "\n".join(_lines(plan, environ))


def _lines(plan: Plan, environ: Mapping[str, str]) -> Iterator[str]:
    count = len(plan.processes)
    size = f"{counted(len(plan.nodes), 'node')}, {counted(count, 'process', 'processes')}"
    yield f"run {plan.run_id}: {size}, distribution {plan.distribution}"
    for node in plan.nodes:
        yield ""
        yield from _node_lines(node)
    for note in plan.notes:
        yield f"note: {note}"
    leftovers = sorted(name for name in environ if is_leftover(name))
    yield ""
    yield f"every process also gets the environment of its node, but for: {', '.join(leftovers) or 'nothing'}"


def _node_lines(node: NodePlan) -> Iterator[str]:
    place = node.node
    gpus = f", GPUs {','.join(place.gpus)}" if place.gpus else ""
    size = f"{counted(place.slots, 'process', 'processes')}, {counted(len(place.cpus), 'CPU')}"
    yield f"{place.node_id}  {place.address}  {size}{gpus}"
    yield f"  environment of all its processes ({place.python}'s folder comes first in PATH):"
    yield from (f"{_INDENT}{name}={shlex.quote(value)}" for name, value in sorted(node.environ.items()))
    yield from (f"{_INDENT}{n}={shlex.quote(v)}  unless set" for n, v in sorted(node.defaults.items()))
    yield from (f"  input {_input_text(item)}" for item in node.data.inputs)
    yield from (f"  output {item.name}: {item.path} -> outputs/{item.name}" for item in node.data.outputs)
    if node.launcher is not None:
        yield from _launcher_lines(node.launcher)
    if node.preload is not None:
        yield f"  forked from one process that has imported: {', '.join(node.preload) or 'nothing'}"
    for process in node.processes:
        yield f"  {_process_name(node, process)}: {shlex.join(process.argv)}"
        yield from (f"{_INDENT}{n}={shlex.quote(v)}" for n, v in sorted(process.environ.items()))


def _launcher_lines(launcher: LauncherPlan) -> Iterator[str]:
    if launcher.argv:
        yield f"  {launcher.kind.value}: {shlex.join(launcher.argv)}"
    else:
        yield f"  {launcher.kind.value}: the one on node-0, through this node's agent"
    yield from (f"{_INDENT}{name}={shlex.quote(value)}" for name, value in sorted(launcher.environ.items()))


def _process_name(node: NodePlan, process: ProcessPlan) -> str:
    elastic = node.launcher is not None and node.launcher.is_elastic
    parts = [f"local rank {process.local_rank}"]
    if process.task.type != "rank":
        parts.append(f"{process.task.type} {process.task.index}")
    if process.gpus:
        parts.append(f"GPU{'s' if len(process.gpus) > 1 else ''} {','.join(process.gpus)}")
    if process.cpus:
        parts.append(f"CPUs {','.join(map(str, process.cpus))}")
    if not process.ends_run:
        parts.append("stopped when the others are done")
    return f"{'place' if elastic else 'rank'} {process.rank} ({', '.join(parts)})"


def _input_text(item: InputPlan) -> str:
    where = "" if item.path == item.source else f" -> {item.path}"
    return f"{item.name}: {item.source}{where} ({item.mode.value})"
