"""From a job file, of any form, to a spec."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .checks import default_experiment_name
from .command_job import command_job
from .dataclass import dataclass
from .errors import Fault, JobFileError
from .foreign import find_foreign
from .overrides import apply_overrides
from .reading import Reader, Reading, Value
from .runconfig import is_runconfig, runconfig
from .runconfig_files import source_folder
from .shapes import entries_of, tagged
from .source import parse_job, read_text
from .spec import JobSpec
from .sweep_job import sweep_job
from .tree import Place, Section

_TYPES: Mapping[str, Reader] = {
    "command": command_job,
    "command_job": command_job,  # in files of 2021
    "sweep": sweep_job,
    "sweep_job": sweep_job,
}
JOB: Reader = tagged(_TYPES, default="command")
"""Reads a job file, as the fields of its spec."""


@dataclass(frozen=True)
class LoadedJob:
    """A job file that is right."""

    spec: JobSpec
    notes: tuple[str, ...]
    """What is odd about it but does no harm, a line each with its place."""
    text: str
    """The file as it stands, without the overrides."""
    options: Mapping[str, Place]
    """Where the keys under `regiment` stand, for what only flags over them can make wrong or right."""


def load_job(
    path: Path, overrides: Sequence[str], current_folder: Path, *, lenient: bool = False, paths: bool = True
) -> LoadedJob:
    """Load the job file at `path` with `--set` overrides; everything wrong with either is one JobFileError.

    `current_folder` is where a relative `path` starts, and gives the experiment its name where the file has none.
    `lenient`: of a key given twice the last value counts, as in Azure ML. `paths`: local files and folders that the
    file names must exist.
    """
    source = _read(path, overrides, current_folder, lenient)
    folder = Path(os.path.normpath(current_folder / path)).parent
    if is_runconfig(source.tree):
        return _load(source, source_folder(folder), current_folder, runconfig(None, ()), lenient, paths)
    value = Value(source.tree, source.tree.place, "")
    foreign = find_foreign(value)
    if foreign is not None:
        place, sentence = foreign
        raise JobFileError((Fault(place.place.file, place.place.line, place.key, sentence),))
    return _load(source, folder, current_folder, JOB, lenient, paths)


def load_runconfig(
    path: Path,
    script: str | None,
    arguments: Sequence[str],
    overrides: Sequence[str],
    current_folder: Path,
    *,
    lenient: bool = False,
    paths: bool = True,
) -> LoadedJob:
    """Load a run configuration, with a script and its arguments where the command line has them.

    The rest is as with `load_job`. The code is the current folder, which the script starts from.
    """
    source = _read(path, overrides, current_folder, lenient)
    return _load(source, current_folder, current_folder, runconfig(script, arguments), lenient, paths)


def load_keys(keys: Mapping[str, Any], name: str, folder: Path, reader: Reader) -> LoadedJob:
    """Load what a program gives as the keys of a job or a run configuration; users know it as `name`.

    `folder` is that of its code; everything wrong is one JobFileError.
    """
    import yaml

    text = yaml.safe_dump(dict(keys), sort_keys=False, allow_unicode=True)
    source = parse_job(text, name)
    if not isinstance(source.tree, Section):
        raise JobFileError(source.faults)
    return _load(_Read(source.tree, text, source.faults, source.notes), folder, folder, reader, False, True)


@dataclass(frozen=True)
class _Read:
    """A file that could be parsed, with the overrides applied."""

    tree: Section
    text: str
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]


def _read(path: Path, overrides: Sequence[str], current_folder: Path, lenient: bool) -> _Read:
    content = read_text(current_folder / path, str(path))
    source = parse_job(content, str(path), lenient)
    if not isinstance(source.tree, Section):
        raise JobFileError(source.faults)
    tree, faults = apply_overrides(source.tree, overrides)
    return _Read(tree, content, (*source.faults, *faults), source.notes)


def _load(source: _Read, folder: Path, current_folder: Path, reader: Reader, lenient: bool, paths: bool) -> LoadedJob:
    reading = Reading(folder, source.faults, source.notes, text=source.text, lenient=lenient, paths=paths)
    value = Value(source.tree, source.tree.place, "")
    fields = reading.read(reader, value)
    notes = reading.finish()
    fields = {key: found for key, found in fields.items() if found is not None}
    fields.setdefault("experiment_name", default_experiment_name(current_folder))
    if "code" not in fields and "code_url" not in fields:
        fields["working_folder"] = str(folder)
    own = entries_of(value).get("regiment")
    places = {name: option.place for name, option in entries_of(own).items()} if own else {}
    return LoadedJob(JobSpec(**fields), notes, source.text, places)
