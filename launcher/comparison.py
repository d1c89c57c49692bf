"""What there is to know about a run when it is compared with another one: "it worked yesterday"."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regiment.jobs.difference import Difference, Facts, arguments, changed_lines, differences, flat
from regiment.jobs.record import RunRecord
from regiment.jobs.workspace import RunFolder

_GIT = "azureml.git."
_MOST_TEXT = 500_000
"""Bytes of a file whose lines are compared."""
_ELSEWHERE = ("name", "display_name", "command", "environment_variables")
"""Keys of the job that have a section of their own, or differ in every run."""


def compare(one: tuple[RunFolder, RunRecord], other: tuple[RunFolder, RunRecord]) -> tuple[Difference, ...]:
    """Compare two runs: spec, arguments, code, repository, packages, hosts, environment."""
    codes = _codes(one[0].code, other[0].code)
    return differences(_facts(*one, codes[0]), _facts(*other, codes[1]))


def _facts(folder: RunFolder, record: RunRecord, code: dict[str, str]) -> Facts:
    spec = _read(folder.spec)
    variables = spec.get("environment_variables") or {}
    packages = _read(folder.packages)
    return {
        "run": {"status": record.status.value, "experiment": record.experiment_name, "target": record.target},
        "spec": flat({key: value for key, value in spec.items() if key not in _ELSEWHERE}),
        "arguments": arguments(record.command),
        "code": code,
        "git": {key[len(_GIT) :]: str(value) for key, value in record.properties.items() if key.startswith(_GIT)},
        "python": {key: str(packages[key]) for key in ("python", "executable") if key in packages},
        "packages": {name: str(version) for name, version in packages.get("packages", {}).items()},
        "hosts": {node.node_id: node.host or "unknown" for node in record.nodes},
        "environment": {name: str(variables.get(name, "set")) for name in record.environment_names},
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # An older run has none, and one kept by Python code has no job.
    return data if isinstance(data, dict) else {}


def _codes(one: Path, other: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Describe the files of two snapshots; those that are one and the same file are left out, and never read."""
    files, others = _files(one), _files(other)
    same = {name for name in files.keys() & others.keys() if files[name].samefile(others[name])}

    def described(found: dict[str, Path]) -> dict[str, str]:
        return {name: _described(path) for name, path in found.items() if name not in same}

    return described(files), described(others)


def _files(code: Path) -> dict[str, Path]:
    return {path.relative_to(code).as_posix(): path for path in sorted(code.rglob("*")) if path.is_file()}


def _described(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{digest.hexdigest()[:12]}, {path.stat().st_size} bytes"


def changed_code(found: tuple[Difference, ...], one: RunFolder, other: RunFolder) -> Iterator[str]:
    """Give the changed lines of the changed files that are texts."""
    for difference in found:
        if difference.section == "code" and difference.one is not None and difference.other is not None:
            texts = [_text(folder.code / difference.key) for folder in (one, other)]
            if texts[0] is not None and texts[1] is not None:
                yield from changed_lines(difference.key, texts[0], texts[1])


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8") if path.stat().st_size <= _MOST_TEXT else None
    except (OSError, UnicodeDecodeError):
        return None
