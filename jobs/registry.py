"""What a workspace has names for: data assets in versions, and compute targets. One JSON file an entry."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from .dataclass import dataclass, field
from .errors import UserError
from .files import private_folder, replace_json
from .plain import PlainError, from_plain, to_plain
from .record import utc_text
from .spec import SbatchOptions
from .workspace import NAME_RULE, Workspace, is_name

T = TypeVar("T")

_ARM_DATA = re.compile(r"/.*/(?:data|datasets)/([^/]+)/versions/([^/]+)", re.IGNORECASE)
_ARM_COMPUTE = re.compile(r"/.*/computes/([^/]+)", re.IGNORECASE)
_AZUREML = "azureml:"
LOCAL = "local"
"""The compute target that every workspace has: this machine."""


@dataclass(frozen=True)
class DataAsset:
    """One version of named data; it never changes."""

    name: str
    version: str
    path: str
    """An absolute local path or a URL."""
    kind: str
    """`uri_file`, `uri_folder` and so on, as an input's `type`."""
    created_utc: str
    description: str | None = None


@dataclass(frozen=True)
class Compute:
    """A named compute target."""

    name: str
    type: str
    sbatch: SbatchOptions = field(default_factory=dict)
    """What jobs for it ask of Slurm, where a job does not say otherwise; for type slurm."""
    python: str | None = None
    """The Python on its nodes; None for the submitter's."""
    start_timeout: float | None = None
    """Seconds that a run's nodes have to come, on Slurm once it has started the job; None for the usual."""
    hosts: str | None = None
    """Its nodes, as people write them (`distribution/hosts.py`); for type ssh."""


# --- data -------------------------------------------------------------------------------------------


def add_data(
    workspace: Workspace, name: str, version: str | None, path: str, kind: str, description: str | None
) -> DataAsset:
    """Give data a name; without a version it gets the number after the highest there is."""
    _check_name("a data asset", name)
    if version is not None:
        _check_name("a version", version)
    folder = workspace.data_assets / name
    _make_folder(folder)
    while True:
        chosen = version or _next_version(_versions(workspace, name))
        asset = DataAsset(name, chosen, path, kind, utc_text(time.time()), description)
        if _write_new(folder / f"{chosen}.json", asset):
            return asset
        if version is not None:
            raise UserError(
                f"there is a data asset {name}:{version} already, and versions never change; "
                "give another --version, or leave it out"
            )


def find_data(workspace: Workspace, name: str, version: str | None) -> DataAsset:
    """Give a version of named data, or its latest."""
    versions = _versions(workspace, name) if is_name(name) else []
    if not versions:
        raise UserError(
            f"there is no data asset {name!r} in {workspace.root}; add it with 'regiment data add {name} --path PATH'"
        )
    if version is None:
        return versions[-1]
    for asset in versions:
        if asset.version == version:
            return asset
    known = ", ".join(asset.version for asset in versions[-5:])
    raise UserError(
        f"data asset {name!r} has no version {version!r}, its versions are {known}; "
        f"add it with 'regiment data add {name} --version {version} --path PATH'"
    )


def all_data(workspace: Workspace, name: str | None = None) -> list[DataAsset]:
    """Give the latest version of everything with a name, or all versions of one name."""
    if name is not None:
        find_data(workspace, name, None)
        return _versions(workspace, name)
    names = sorted(path.name for path in _entries(workspace.data_assets) if path.is_dir())
    return [found[-1] for found in (_versions(workspace, name) for name in names) if found]


def data_reference(text: str) -> tuple[str, str | None] | None:
    """Read `azureml:name:version`, `azureml:name@latest` or a full ARM id; None for any other text.

    Gives the name, and the version or None for the latest.
    """
    if not text.startswith(_AZUREML) or text.startswith(f"{_AZUREML}//"):
        return None
    rest = text.removeprefix(_AZUREML)
    found = _ARM_DATA.fullmatch(rest)
    if found:
        return found[1], found[2]
    name, at, label = rest.partition("@")
    if at:
        if label != "latest":
            raise UserError(
                f"{text!r}: the only label is @latest; write azureml:{name}@latest or azureml:{name}:VERSION"
            )
        return name, None
    name, _, version = rest.partition(":")
    return name, version or None


def _versions(workspace: Workspace, name: str) -> list[DataAsset]:
    """Give all versions in the order they were added, the latest last."""
    found = [_read(path, DataAsset) for path in _entries(workspace.data_assets / name) if path.suffix == ".json"]
    return sorted(found, key=lambda asset: (asset.created_utc, _number(asset.version), asset.version))


def _next_version(versions: list[DataAsset]) -> str:
    return str(max((_number(asset.version) for asset in versions), default=0) + 1)


def _number(version: str) -> int:
    return int(version) if version.isascii() and version.isdecimal() else 0


# --- compute ----------------------------------------------------------------------------------------


def add_compute(workspace: Workspace, compute: Compute) -> None:
    """Give a compute target a name; the same name again replaces it."""
    _check_name("a compute target", compute.name)
    if compute.name == LOCAL:
        raise UserError("'local' always is this machine; choose another name")
    _make_folder(workspace.computes)
    replace_json(workspace.computes / f"{compute.name}.json", to_plain(compute))


def all_computes(workspace: Workspace) -> list[Compute]:
    """Give every compute target, `local` first."""
    paths = sorted(path for path in _entries(workspace.computes) if path.suffix == ".json")
    return [Compute(LOCAL, LOCAL), *(_read(path, Compute) for path in paths)]


def find_compute(workspace: Workspace, named: str) -> Compute:
    """Give the target that `NAME`, `azureml:NAME` or a full ARM id means."""
    name = compute_name(named)
    if name == LOCAL:
        return Compute(LOCAL, LOCAL)
    path = workspace.computes / f"{name}.json"
    if is_name(name) and path.is_file():
        return _read(path, Compute)
    raise UserError(
        f"there is no compute target {name!r} in {workspace.root}; add it with "
        f"'regiment compute add {name} --type local', or run here with --compute local"
    )


def remove_compute(workspace: Workspace, name: str) -> None:
    """Forget a compute target."""
    if name == LOCAL:
        raise UserError("'local' always is this machine and cannot be removed")
    find_compute(workspace, name)
    (workspace.computes / f"{name}.json").unlink(missing_ok=True)


def compute_name(named: str) -> str:
    """Give the bare name in `NAME`, `azureml:NAME` and `/subscriptions/.../computes/NAME`."""
    name = named.removeprefix(_AZUREML)
    found = _ARM_COMPUTE.fullmatch(name)
    return found[1] if found else name


# --- files ------------------------------------------------------------------------------------------


def _check_name(what: str, name: str) -> None:
    if not is_name(name):
        raise UserError(f"{name!r} cannot be the name of {what}; a name is {NAME_RULE}")


def _make_folder(folder: Path) -> None:
    try:
        private_folder(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}; name another workspace with --workspace") from None


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from (folder / name for name in os.listdir(folder) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return


def _read(path: Path, kind: type[T]) -> T:
    try:
        return from_plain(kind, json.loads(path.read_text("utf-8")))
    except (ValueError, PlainError) as error:
        raise UserError(f"{path} is damaged: {error}; remove it and add the entry again") from None


def _write_new(path: Path, entry: DataAsset) -> bool:
    """Write a file that must not be there yet, whole or not at all; False if it is there."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    replace_json(temporary, to_plain(entry))
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True
