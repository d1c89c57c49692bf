"""Run configurations of Azure ML's first version: `NAME.runconfig`, YAML or JSON, with a script instead of a command.

A key with nothing after it is as good as left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from .checks import check_count, check_process_total, check_tasks, check_timeout
from .distributions import COUNT
from .errors import UserError
from .fields import checked, dropped, is_nothing, not_used, number, scalar, text, whole_number, word
from .paths import resolve
from .program import check_script
from .reading import Key, Reader, Reading, Table, Value, reads
from .shapes import either, entries_of, list_of, map_of, plain_data, section
from .spec import Distribution, Environment, Mpi, Plain, PyTorch, ShellCommand, TensorFlow
from .tree import Entry, Section, Tree

# Keys that no job file has.
_MARKS = frozenset(("script", "communicator", "nodeCount", "framework"))
_NAME = r"(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})"
_VARIABLE = re.compile(rf"\${_NAME}")


def is_runconfig(tree: Section) -> bool:
    """Tell whether a file is a run configuration and no job file."""
    return not _MARKS.isdisjoint(tree.entries) and "type" not in tree.entries


@reads({"type": ["string", "array"]})
def _command(value: Value, reading: Reading) -> str:
    return str(text(value, reading))


def _check_servers(count: int) -> int:
    return count if count == 0 else check_count(count)


@reads({"type": "object"})
def _conda(value: Value, _reading: Reading) -> Any:
    return plain_data(value)


@reads({"type": "string"})
def _conda_file(value: Value, reading: Reading) -> str:
    return resolve(text(value, reading), value, reading)


_COMMAND = either("a command", single=_command, items=list_of(word))
_PYTHON: Table = {
    "interpreterPath": Key(text),
    "userManagedDependencies": Key(dropped),
    "condaDependencies": Key(_conda),
    "condaDependenciesFile": Key(_conda_file),
    "baseCondaEnvironment": Key(not_used),
}
_DOCKER: Table = {
    "enabled": Key(dropped),
    "baseImage": Key(text),
    "baseDockerfile": Key(not_used),
    "platform": Key(dropped),
    **{name: Key(dropped) for name in ("sharedVolumes", "gpuSupport", "preparation")},
    "shmSize": Key(not_used),
    "arguments": Key(not_used),
    "baseImageRegistry": Key(not_used),
}
_ENVIRONMENT: Table = {
    "name": Key(text),
    "version": Key(word),
    "environmentVariables": Key(map_of(word)),
    "python": Key(section(_PYTHON)),
    "docker": Key(section(_DOCKER)),
    **{name: Key(not_used) for name in ("spark", "databricks", "r", "inferencingStackVersion")},
}
_SECONDS = checked(number, check_timeout)
_SERVERS = checked(whole_number, _check_servers)
_TENSORFLOW: Table = {"workerCount": Key(COUNT), "parameterServerCount": Key(_SERVERS)}
_PYTORCH: Table = {"communicationBackend": Key(dropped), "processCount": Key(COUNT), "nodeCount": Key(COUNT)}
_MPI: Table = {"processCountPerNode": Key(COUNT), "nodeCount": Key(COUNT)}
RUNCONFIG: Table = {
    "$schema": Key(dropped),
    "script": Key(text),
    "arguments": Key(list_of(word)),
    "command": Key(_COMMAND),
    "target": Key(text),
    "framework": Key(text),
    "communicator": Key(text),
    "nodeCount": Key(COUNT),
    "maxRunDurationSeconds": Key(_SECONDS),
    "environment": Key(section(_ENVIRONMENT)),
    "environmentVariables": Key(map_of(word)),
    "mpi": Key(section(_MPI)),
    "tensorflow": Key(section(_TENSORFLOW)),
    "pytorch": Key(section(_PYTORCH)),
    "pyTorch": Key(section(_PYTORCH)),
    "jobName": Key(dropped),
    "useAbsolutePath": Key(dropped),
    "autoPrepareEnvironment": Key(dropped),
    "history": Key(dropped),
    "hdi": Key(dropped),
    "spark": Key(dropped),
    **{
        name: Key(not_used)
        for name in (
            "amlcompute amlCompute containerInstance dataReferences data outputData datacaches docker identity "
            "sourceDirectoryDataStore exposedPorts priority credentialPassthrough parallelTask aiSuperComputer "
            "cmk8sCompute cmAksCompute commandReturnCodeConfig applicationEndpoints"
        ).split()
    },
}


def runconfig(script: str | None, arguments: Sequence[str]) -> Reader:
    """Make a reader of run configurations, with the script and the arguments of the command line over the file's."""
    table = section(RUNCONFIG)

    def read(value: Value, reading: Reading) -> dict[str, Any]:
        assert isinstance(value.tree, Section)
        tree = _without_nothing(value.tree)
        value = Value(tree, value.place, value.key)
        fields = _fields(table(value, reading), entries_of(value), reading, script, arguments)
        folder = reading.folder_of(value)
        if reading.paths:
            place = value if script else entries_of(value).get("script", value)
            reading.check(place, check_script, fields["command"].text, folder, True)
        return {**fields, "code": str(folder)}  # all of it is snapshotted, as it always was

    return Reader(read, table.schema)


def _without_nothing(tree: Section) -> Section:
    """Leave out keys that have no value, or an empty list or mapping."""
    kept: dict[str, Entry] = {}
    for name, entry in tree.entries.items():
        inner: Tree = _without_nothing(entry.value) if isinstance(entry.value, Section) else entry.value
        is_empty = is_nothing(inner) or not getattr(inner, "entries", True) or not getattr(inner, "items", True)
        if not is_empty:
            kept[name] = Entry(entry.place, inner)
    return Section(tree.place, kept)


def _fields(
    values: Mapping[str, Any],
    places: Mapping[str, Value],
    reading: Reading,
    script: str | None,
    arguments: Sequence[str],
) -> dict[str, Any]:
    environment = values.get("environment") or {}
    fields: dict[str, Any] = {
        "command": _make_command(values, reading, script, arguments),
        "compute": values.get("target") or "local",
        "instance_count": values.get("nodeCount") or 1,
        "timeout": values.get("maxRunDurationSeconds"),
        "environment": _make_environment(environment),
        "environment_variables": {
            **(environment.get("environmentVariables") or {}),
            **(values.get("environmentVariables") or {}),
        },
    }
    fields["distribution"] = _make_distribution(values, places, reading)
    return fields


def _make_command(
    values: Mapping[str, Any], reading: Reading, script: str | None, arguments: Sequence[str]
) -> ShellCommand:
    named = script or values.get("script")
    if named is None:
        command = values.get("command")
        if command is None and not reading.paths:
            command = "python"  # the script comes with the command line, and so does the check for it
        if command is None:
            raise UserError("there is no script to run; name one: regiment run -c NAME train.py")
        return ShellCommand(command if isinstance(command, str) else " ".join(map(shell_word, filter(None, command))))
    python = ((values.get("environment") or {}).get("python") or {}).get("interpreterPath") or "python"
    own = [argument for argument in values.get("arguments") or () if argument is not None]
    given = tuple(arguments) if script else (*own, *arguments)
    return ShellCommand(" ".join(map(shell_word, (python, named, *given))))


def shell_word(argument: str) -> str:
    """Quote an argument for the shell, but for variables: $LOCAL_RANK is each process's own."""
    if not _VARIABLE.search(argument):
        return shlex.quote(argument)
    escaped = re.sub(r'([\\"`])', r"\\\1", argument)
    return '"' + re.sub(rf"\$(?!{_NAME})", r"\$", escaped) + '"'


def _make_environment(values: Mapping[str, Any]) -> Environment | None:
    python, docker = values.get("python") or {}, values.get("docker") or {}
    image, file, inline = docker.get("baseImage"), python.get("condaDependenciesFile"), python.get("condaDependencies")
    if image or file or inline:
        return Environment(image=image, conda_file=file, conda=None if file else inline)
    if not values.get("name"):
        return None
    return Environment(name=":".join(filter(None, (values["name"], values.get("version")))))


def _make_distribution(values: Mapping[str, Any], places: Mapping[str, Value], reading: Reading) -> Distribution:
    nodes = values.get("nodeCount") or 1
    name = (values.get("communicator") or "None").lower()
    framework = (values.get("framework") or "Python").lower()
    if framework in ("pyspark", "cntk"):
        reading.fault(places["framework"], f"'{framework}' is not supported; run a Python program")
    if name == "none":
        return PyTorch() if framework == "pytorch" and nodes > 1 else Plain()
    if name not in _COMMUNICATORS:
        guess = reading.guess(name, ["none", *_COMMUNICATORS])
        reading.fault(places["communicator"], f"unknown value '{scalar(places['communicator'], 'text').text}'; {guess}")
        return Plain()
    return _COMMUNICATORS[name](values, places, nodes, reading)


def _make_mpi(values: Mapping[str, Any], places: Mapping[str, Value], nodes: int, reading: Reading) -> Distribution:
    per_node = (values.get("mpi") or {}).get("processCountPerNode") or 1
    if "mpi" in places:
        reading.check(places["mpi"], check_process_total, nodes, per_node)
    return Mpi(per_node)


def _make_tensorflow(
    values: Mapping[str, Any], places: Mapping[str, Value], nodes: int, reading: Reading
) -> Distribution:
    found = values.get("tensorflow") or {}
    made = TensorFlow(found.get("workerCount") or nodes, found.get("parameterServerCount") or 0)
    if "tensorflow" in places:
        reading.check(places["tensorflow"], check_tasks, made, nodes)
    return made


def _make_pytorch(values: Mapping[str, Any], places: Mapping[str, Value], nodes: int, reading: Reading) -> Distribution:
    key = "pytorch" if "pytorch" in values else "pyTorch"
    total = (values.get(key) or {}).get("processCount")
    if total is None:
        return PyTorch()
    if total % nodes:
        sums = f"{total} processes over {nodes} nodes are {total / nodes:.2f} each"
        reading.fault(places[key], f"{sums}; processCount counts all nodes together: make it a multiple of {nodes}")
    return PyTorch(total // nodes or 1)


_COMMUNICATORS = {
    "mpi": _make_mpi,
    "openmpi": _make_mpi,
    "intelmpi": _make_mpi,
    "parameterserver": _make_tensorflow,
    "nccl": _make_pytorch,
    "gloo": _make_pytorch,
}
