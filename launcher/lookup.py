"""What a job means in this workspace: its compute target, its inputs, and whether it can be started at all.

Everything that a user can get wrong about data and targets is told here, before anything is made.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from regiment.distribution.data import data_plan, data_values, with_values
from regiment.jobs.data import DataInput, DataMode, Input, LiteralInput
from regiment.jobs.dataclass import replace
from regiment.jobs.errors import UserError
from regiment.jobs.locations import is_http, scheme, shown
from regiment.jobs.registry import data_reference, find_compute, find_data
from regiment.jobs.spec import ArgvCommand, JobSpec
from regiment.jobs.workspace import Workspace

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LATER = frozenset({"ray"})
"""Types of distribution that can be read and not started."""
_FILE, _FOLDER = "uri_file", "uri_folder"


def looked_up(spec: JobSpec, workspace: Workspace, given_inputs: Sequence[str] = ()) -> JobSpec:
    """Give the job with every name replaced by what it stands for; `given_inputs` are `NAME=VALUE` flags."""
    _check_can_start(spec)
    compute = find_compute(workspace, spec.compute)
    inputs = {**spec.inputs, **_given(spec, given_inputs)}
    for name in (*inputs, *spec.outputs):
        _check_name(name)
    _check_output_names(spec)
    found = {name: _found(name, item, workspace) for name, item in inputs.items()}
    spec = replace(spec, compute=compute.name, inputs=found)
    _check_command(spec, workspace)
    return spec


def _check_can_start(spec: JobSpec) -> None:
    """Refuse jobs that can be read but not run yet."""
    if spec.sweep is not None:
        raise UserError("running a sweep is not supported yet; 'regiment validate' checks its file")
    if spec.code_url is not None and not spec.code_url.startswith("git+"):
        raise UserError(f"code {spec.code_url!r} lies in Azure; fetch it, and name its folder with --code")
    if spec.distribution.type in _LATER:
        raise UserError(
            f"running the distribution type '{spec.distribution.type}' is not supported yet; "
            "'regiment validate' checks such files, and types pytorch, tensorflow and mpi run"
        )


def _check_name(name: str) -> None:
    # Each is a folder on every node.
    if not _NAME.fullmatch(name) or len(name) > 128:
        raise UserError(f"{name!r} cannot name an input or output; use letters, digits, dots, dashes and underscores")


def _check_command(spec: JobSpec, workspace: Workspace) -> None:
    """See that every value can be put where the command wants it, with paths such as the run will have."""
    folder = workspace.run("run").node_data("node-0")
    with_values(spec.command, data_values(spec, data_plan(spec, str(folder))))


def _check_output_names(spec: JobSpec) -> None:
    taken = {f"node-{index}" for index in range(1, spec.instance_count)} & set(spec.outputs)
    if taken:
        raise UserError(
            f"output {min(taken)!r} is called like one of the run's nodes, whose own files go by that name; rename it"
        )


# --- --input ----------------------------------------------------------------------------------------


def _given(spec: JobSpec, flags: Sequence[str]) -> dict[str, Input]:
    given: dict[str, Input] = {}
    for flag in flags:
        name, equals, value = flag.partition("=")
        if not equals or not name or not value:
            raise UserError(f"--input {flag!r}: write NAME=PATH, NAME=URL or NAME=azureml:ASSET:VERSION")
        given[name] = _given_input(spec, name, value)
    return given


def _given_input(spec: JobSpec, name: str, value: str) -> Input:
    declared = spec.inputs.get(name)
    if isinstance(declared, LiteralInput):
        return LiteralInput(value, value)
    is_local = scheme(value) is None and data_reference(value) is None
    path = str(Path(value).expanduser().absolute()) if is_local else value
    if declared is not None:
        return replace(declared, path=path)
    if not isinstance(spec.command, ArgvCommand):
        from difflib import get_close_matches

        near = get_close_matches(name, spec.inputs, 1)
        known = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, spec.inputs)) or 'none'}"
        raise UserError(f"--input {name}: the job has no such input; {known}")
    # A command has no file to declare its inputs in; only a web server's answer is known to be one file.
    return DataInput(path, _FILE if is_http(path) else _FOLDER)


# --- what an input stands for -----------------------------------------------------------------------


def _found(name: str, item: Input, workspace: Workspace) -> Input:
    if isinstance(item, LiteralInput):
        return item
    try:
        reference = data_reference(item.path)
        if reference is not None:
            asset = find_data(workspace, *reference)
            item = replace(item, path=asset.path, kind=asset.kind)
    except UserError as error:
        raise UserError(f"input {name!r}: {error}; or give it with --input {name}=PATH") from None
    if scheme(item.path) == "file":
        from urllib.parse import unquote, urlsplit

        item = replace(item, path=unquote(urlsplit(item.path).path))
    if scheme(item.path) is None:
        return replace(item, kind=_kind_on_disk(name, item))
    if item.mode is not DataMode.DIRECT:
        _check_fetcher(name, item.path)
    return item


def _kind_on_disk(name: str, item: DataInput) -> str:
    """Give the kind of a local input; a file whose type says nothing or names a model is a file all the same."""
    if not os.path.lexists(item.path):
        raise UserError(
            f"input {name!r}: there is no {item.path}; correct the path, or give another with --input {name}=PATH"
        )
    if not os.access(item.path, os.R_OK):
        raise UserError(f"input {name!r}: {item.path} cannot be read; its permissions do not let this user")
    if Path(item.path).is_dir():
        if item.kind == _FILE:
            raise UserError(f"input {name!r}: {item.path} is a folder, but its type is uri_file; write uri_folder")
        return item.kind
    return _FILE


def _check_fetcher(name: str, url: str) -> None:
    if not is_http(url) and importlib.util.find_spec("fsspec") is None:
        raise UserError(
            f"input {name!r}: {shown(url)} is fetched through fsspec, which {sys.executable} does not have; "
            "install it there: pip install 'regiment[data]'"
        )
