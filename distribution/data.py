"""Where a node finds each input and leaves each output: the values of `${{inputs.x}}` and `${{outputs.x}}`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from regiment.jobs.data import DataInput, DataMode, LiteralInput
from regiment.jobs.dataclass import dataclass, replace
from regiment.jobs.expressions import substitute
from regiment.jobs.locations import file_name, shown
from regiment.jobs.spec import ArgvCommand, Command, JobSpec, ShellCommand

_EXPRESSION = re.compile(r"\$\{\{\s*((?:inputs|outputs)\.[^\s}]+)\s*\}\}")
_FILE = "uri_file"


@dataclass(frozen=True)
class InputPlan:
    """One input of a node that is data."""

    name: str
    source: str
    """An absolute local path, or a URL."""
    is_file: bool
    mode: DataMode
    path: str
    """What the job is told; the source itself where the mode is direct."""


@dataclass(frozen=True)
class OutputPlan:
    """One output of a node."""

    name: str
    folder: str
    """Collected into the run's `outputs/<name>`."""
    path: str
    """What the job is told: the folder, or a file in it."""


@dataclass(frozen=True)
class DataPlan:
    """All data of a node's job."""

    folder: str
    """The node's own folder for it; gone when the run has ended."""
    inputs: tuple[InputPlan, ...] = ()
    outputs: tuple[OutputPlan, ...] = ()


def data_plan(spec: JobSpec, folder: str) -> DataPlan:
    """Give what a node whose data lies in `folder` has to bring and to collect."""
    inputs = tuple(_input(name, item, folder) for name, item in spec.inputs.items() if isinstance(item, DataInput))
    outputs = []
    for name, item in spec.outputs.items():
        if item.mode is DataMode.DIRECT and item.path is not None:
            continue  # The job writes there by itself; there is nothing to collect.
        own = f"{folder}/outputs/{name}"
        # Where a file is wanted the job writes to the path it is told, so its folder has to be there.
        path = f"{own}/{file_name(item.path or '') or name}" if item.kind == _FILE else own
        outputs.append(OutputPlan(name, own, path))
    return DataPlan(folder, inputs, tuple(outputs))


def _input(name: str, item: DataInput, folder: str) -> InputPlan:
    is_file = item.kind == _FILE
    if item.mode is DataMode.DIRECT:
        return InputPlan(name, item.path, is_file, item.mode, item.path)
    own = f"{folder}/inputs/{name}"
    return InputPlan(name, item.path, is_file, item.mode, f"{own}/{file_name(item.path)}" if is_file else own)


def data_values(spec: JobSpec, plan: DataPlan) -> dict[str, str]:
    """Give the text of every `inputs.x` and `outputs.x`."""
    values = {f"inputs.{name}": item.text for name, item in spec.inputs.items() if isinstance(item, LiteralInput)}
    values |= {f"outputs.{name}": item.path for name, item in spec.outputs.items() if item.path is not None}
    values |= {f"inputs.{item.name}": item.path for item in plan.inputs}
    return values | {f"outputs.{item.name}": item.path for item in plan.outputs}


def with_values(command: Command, values: Mapping[str, str]) -> Command:
    """Give the command with its expressions replaced: quoted where a shell reads them, as they are in an argv."""
    match command:
        case ShellCommand(text):
            return ShellCommand(substitute(text, values))
        case ArgvCommand(argv):
            return ArgvCommand(tuple(replaced(word, values) for word in argv))


def replaced(text: str, values: Mapping[str, str]) -> str:
    """Give a text with its expressions replaced by the bare values, for places that no shell reads."""
    return _EXPRESSION.sub(lambda found: values.get(found[1], found[0]), text)


def shown_plan(plan: DataPlan) -> DataPlan:
    """Give the plan with the secrets of URLs hidden."""
    return replace(plan, inputs=tuple(replace(item, source=shown(item.source)) for item in plan.inputs))
