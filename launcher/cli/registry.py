"""`regiment data` and `regiment compute`: what the workspace has names for."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from regiment.distribution.hosts import read_hosts
from regiment.jobs import registry
from regiment.jobs.errors import UserError
from regiment.jobs.locations import is_http, scheme
from regiment.jobs.plain import to_plain
from regiment.jobs.registry import Compute
from regiment.jobs.sbatch import read_flag
from regiment.jobs.workspace import Workspace, find_workspace

from .output import answer, columns, say
from .parser import LATER_COMPUTES

_DATA_COLUMNS = {"name": "NAME", "version": "VERSION", "kind": "KIND", "path": "PATH", "createdUtc": "CREATED"}
_COMPUTE_COLUMNS = {"name": "NAME", "type": "TYPE"}
_SLURM_FLAGS = {
    "partition": "partition",
    "account": "account",
    "time": "time",
    "gpus_per_node": "gpus-per-node",
    "cpus_per_node": "cpus-per-task",
}
"""Flags for targets of type slurm, and the options of sbatch that they are: there is one task a node."""


def _workspace(options: argparse.Namespace) -> Workspace:
    return find_workspace(options.workspace, os.environ, Path.cwd())


# --- data -------------------------------------------------------------------------------------------


def add_data(options: argparse.Namespace) -> int:
    """Give data a name."""
    path, kind = _location(options.path, options.kind)
    asset = registry.add_data(_workspace(options), options.name, options.version, path, kind, options.description)
    say(f"regiment: added {asset.name}:{asset.version}; a job file names it azureml:{asset.name}:{asset.version}")
    return 0


def _location(named: str, kind: str | None) -> tuple[str, str]:
    """Give the absolute path or URL, and what is there: found out for local data, guessed for URLs."""
    if scheme(named) is not None:
        return named, kind or ("uri_file" if is_http(named) else "uri_folder")
    path = Path(named).expanduser().absolute()
    if not path.exists():
        raise UserError(f"--path {named}: there is no such file or folder")
    found = "uri_folder" if path.is_dir() else "uri_file"
    if kind in ("uri_folder", "uri_file") and kind != found:
        raise UserError(f"--path {named} is a {found.removeprefix('uri_')}; leave --kind out, or write --kind {found}")
    return os.path.normpath(path), kind or found


def list_data(options: argparse.Namespace) -> int:
    """List the latest version of everything that has a name, or all versions of one name."""
    rows = [to_plain(asset) for asset in registry.all_data(_workspace(options), options.name)]
    answer(options, rows, columns(rows, _DATA_COLUMNS))
    return 0


def show_data(options: argparse.Namespace) -> int:
    """Show one version of named data."""
    answer(options, to_plain(registry.find_data(_workspace(options), options.name, options.version)))
    return 0


# --- compute ----------------------------------------------------------------------------------------


_FLAG_TYPES = {"python": ("slurm", "ssh"), "start_timeout": ("slurm", "ssh"), "hosts": ("ssh",)}
"""Flags of some types of compute target."""
_WHERE = {
    "local": "run on this machine",
    "slurm": "wait in Slurm's queue for its nodes",
    "ssh": "run on its hosts, over ssh",
}


def add_compute(options: argparse.Namespace) -> int:
    """Give a compute target a name."""
    if options.type in LATER_COMPUTES:
        raise UserError(f"compute targets of type {options.type} are not supported yet; --type local runs here")
    for flag, types in {**dict.fromkeys((*_SLURM_FLAGS, "sbatch"), ("slurm",)), **_FLAG_TYPES}.items():
        if getattr(options, flag) and options.type not in types:
            raise UserError(f"--{flag.replace('_', '-')}: expected only with --type {' or '.join(types)}")
    if options.type == "ssh":
        if options.hosts is None:
            raise UserError("--type ssh needs its hosts: --hosts gpu[01-16], or a,b, as ssh knows them")
        read_hosts(options.hosts, "--hosts")
    compute = Compute(
        options.name, options.type, _sbatch_options(options), options.python, options.start_timeout, options.hosts
    )
    registry.add_compute(_workspace(options), compute)
    say(f"regiment: added compute target {options.name!r}; jobs for it {_WHERE[options.type]}")
    return 0


def _sbatch_options(options: argparse.Namespace) -> dict[str, str | bool]:
    named = {name: getattr(options, flag) for flag, name in _SLURM_FLAGS.items()}
    found: dict[str, str | bool] = {name: str(value) for name, value in named.items() if value is not None}
    for text in options.sbatch:
        try:
            name, value = read_flag(text)
        except UserError as error:
            raise UserError(f"--sbatch {text!r}: {error}") from None
        found[name] = value
    return found


def list_computes(options: argparse.Namespace) -> int:
    """List compute targets."""
    rows = [_row(compute) for compute in registry.all_computes(_workspace(options))]
    answer(options, rows, columns(rows, _COMPUTE_COLUMNS))
    return 0


def show_compute(options: argparse.Namespace) -> int:
    """Show one compute target."""
    answer(options, _row(registry.find_compute(_workspace(options), options.name)))
    return 0


def _row(compute: Compute) -> dict[str, Any]:
    """Give what is known of a target, without what is not said of it."""
    return {key: value for key, value in to_plain(compute).items() if value not in (None, {})}


def remove_compute(options: argparse.Namespace) -> int:
    """Forget a compute target; runs that were made for it stay as they are."""
    registry.remove_compute(_workspace(options), options.name)
    say(f"regiment: removed compute target {options.name!r}")
    return 0
