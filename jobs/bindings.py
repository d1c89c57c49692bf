"""`inputs:` and `outputs:` in all their spellings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .data import DataInput, DataMode, LiteralInput, Output
from .errors import UserError
from .fields import WORD, any_case, dropped, not_used, one_of, or_nothing, scalar, text
from .paths import existing, has_kind, is_elsewhere
from .reading import Key, Reader, Reading, Table, Value, reads
from .shapes import either, entries_of, map_of, section, then
from .tree import shorten

KINDS = ("uri_folder", "uri_file", "mltable", "mlflow_model", "custom_model", "triton_model")
_LITERAL_KINDS = ("string", "number", "integer", "boolean")
_INPUT_MODES = {"mount": DataMode.READ_ONLY_MOUNT, "eval_mount": DataMode.READ_ONLY_MOUNT}
_INPUT_MODES["eval_download"] = DataMode.DOWNLOAD
_WHERE = ("path", "data", "dataset", "file", "folder", "value")
_FILE_NAME = re.compile(r".*/[^/?]*\.[A-Za-z0-9]{1,6}(\?.*)?")


@reads(WORD)
def literal(value: Value, _reading: Reading) -> LiteralInput:
    """Read a value as it is."""
    found = scalar(value, "a value")
    if found.value is None:
        raise UserError('expected a value, found nothing; write "" for an empty one')
    return LiteralInput(found.value, found.text)


@reads({"type": "string"})
def _location(value: Value, reading: Reading) -> str:
    """Read where data is: a local path, a URL or a registered name."""
    return _locate(text(value, reading), value, reading)


def _locate(named: str, value: Value, reading: Reading) -> str:
    return named if is_elsewhere(named) else existing(named, value, reading)


def _kind(names: tuple[str, ...]) -> Reader:
    def read(value: Value, reading: Reading) -> str:
        found: str = text(value, reading)
        if found.lower() not in names:
            raise UserError(f"unknown type '{shorten(found)}'; {reading.guess(found.lower(), names)}")
        return found.lower()

    return Reader(read, any_case(*names))


_DATA: Table = {
    "path": Key(text, "where it is: a URL, or a path in the datastore"),
    "local_path": Key(text, "where it is on this machine"),
    "datastore": Key(text, "the datastore that `path` is in"),
    "name": Key(dropped, is_offered=False),
    "version": Key(dropped, is_offered=False),
}


def _data_location(values: Mapping[str, Any], value: Value, reading: Reading) -> str | None:
    named = values.get("local_path") or values.get("path")
    if values.get("datastore"):
        store = values["datastore"].removeprefix("azureml:")
        return f"azureml://datastores/{store}/paths/{(named or '').lstrip('/')}"
    if "path" not in values and "local_path" not in values:
        raise UserError("expected a 'path' or a 'local_path'; add one")
    return named and _locate(named, value, reading)


_DATA_OF_2021 = either("a name or a mapping", single=_location, mapping=then(section(_DATA), _data_location))
_INPUT: Table = {
    "type": Key(_kind(KINDS + _LITERAL_KINDS), "what it is (default: uri_folder)"),
    "path": Key(_location, "a local path, a URL, or azureml:NAME:VERSION"),
    "mode": Key(one_of(DataMode, _INPUT_MODES), "how it comes to the nodes (default: ro_mount)"),
    "value": Key(literal, "a value instead of data"),
    "data": Key(_DATA_OF_2021, "the data, in files of 2021"),
    "dataset": Key(_DATA_OF_2021, "the data, in files of autumn 2021"),
    "file": Key(_location, "a file, in files of autumn 2021"),
    "folder": Key(_location, "a folder, in files of autumn 2021"),
    "description": Key(dropped, is_offered=False),
    "optional": Key(not_used, is_offered=False),
    "path_on_compute": Key(not_used, is_offered=False),
}


def _make_input(values: Mapping[str, Any], value: Value, reading: Reading) -> DataInput | LiteralInput | None:
    given = [name for name in _WHERE if name in values]
    if len(given) != 1:
        found = " and ".join(f"'{name}'" for name in given) or "none"
        raise UserError(f"expected one of path and value, found {found}; keep or add one")
    where = values[given[0]]
    if where is None:
        return None
    if isinstance(where, LiteralInput):
        return where
    mode = values.get("mode") or DataMode.READ_ONLY_MOUNT
    if mode in (DataMode.READ_WRITE_MOUNT, DataMode.UPLOAD):
        reading.note(value, f"inputs are read-only here; '{mode.value}' is taken as 'ro_mount'")
        mode = DataMode.READ_ONLY_MOUNT
    kind = values.get("type") or {"file": "uri_file", "folder": "uri_folder"}.get(given[0])
    if kind in _LITERAL_KINDS:
        raise UserError(f"a '{kind}' has a 'value', not a path; write value: ...")
    return DataInput(where, kind or _guess_kind(where, given[0]), mode)


def _guess_kind(where: str, key: str) -> str:
    """Say what data without a type is: by what is there, or, as 2021's files have no types, by its name."""
    is_file = has_kind(where, "file") if Path(where).is_absolute() else False
    is_named_file = key != "path" and "://" in where and _FILE_NAME.fullmatch(where.split("://", 1)[1])
    return "uri_file" if is_file or is_named_file else "uri_folder"


_OUTPUT_DATA: Table = {"path": Key(text), "datastore": Key(text)}
_OUTPUT: Table = {
    "type": Key(_kind(KINDS), "what it is (default: uri_folder)"),
    "mode": Key(one_of(DataMode, {"mount": DataMode.READ_WRITE_MOUNT}), "how it is brought in (default: rw_mount)"),
    "path": Key(text, "where Azure ML would keep it; here it goes into the run's outputs"),
    "name": Key(not_used, "the name Azure ML would register it under"),
    "version": Key(not_used, "the version Azure ML would register it as"),
    "path_on_compute": Key(not_used, is_offered=False),
    "data": Key(section(_OUTPUT_DATA), "its path, in files of 2021"),
    "file": Key(text, "its path, in files of autumn 2021"),
    "folder": Key(text, "its path, in files of autumn 2021"),
    "description": Key(dropped, is_offered=False),
}


def _make_output(values: Mapping[str, Any], value: Value, reading: Reading) -> Output:
    mode = values.get("mode") or DataMode.READ_WRITE_MOUNT
    if mode in (DataMode.READ_ONLY_MOUNT, DataMode.DOWNLOAD):
        raise UserError(f"an output cannot have the mode '{mode.value}'; write rw_mount or upload")
    path = values.get("path") or values.get("file") or values.get("folder") or (values.get("data") or {}).get("path")
    if path is not None:
        inner = entries_of(value)
        reading.unused(next(inner[key] for key in ("path", "file", "folder", "data") if key in inner))
    kind = values.get("type") or ("uri_file" if "file" in values else "uri_folder")
    return Output(kind, mode, path)


def _check_name(name: str) -> None:
    if not name or not re.fullmatch(r"[^\s{}/]+", name) or name in (".", ".."):
        raise UserError("this cannot be a name; write one without blanks, braces and slashes")


inputs: Reader = map_of(either("a value or a mapping", literal, then(section(_INPUT), _make_input)), _check_name)
"""Reads what a job is given."""
outputs: Reader = map_of(or_nothing(then(section(_OUTPUT), _make_output), Output()), _check_name)
"""Reads what a job gives back."""
