"""A run told in full: the document of Azure ML's `get_details()`, with what only Regiment knows added."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from regiment.jobs.plain import to_plain
from regiment.jobs.record import RunRecord
from regiment.jobs.workspace import RunFolder

from .rundefinition import run_definition


def summary(record: RunRecord) -> dict[str, Any]:
    """Give what a list of runs says of one."""
    return {
        "runId": record.run_id,
        "experimentName": record.experiment_name,
        "displayName": record.display_name,
        "type": record.type.value,
        "parentRunId": record.parent_run_id,
        "rootRunId": record.root_run_id,
        "archived": record.archived,
        "status": record.status.value,
        "target": record.target,
        "distribution": record.distribution,
        "instanceCount": record.instance_count,
        "processCount": record.process_count,
        "createdUtc": record.created_utc,
        "startTimeUtc": record.start_time_utc,
        "endTimeUtc": record.end_time_utc,
        "elapsedSeconds": record.elapsed_seconds,
        "exitStatus": record.exit_status,
        "tags": dict(record.tags),
        "properties": dict(record.properties),
    }


def details(folder: RunFolder, record: RunRecord) -> dict[str, Any]:
    """Give everything about a run; `coordinator` and the nodes' pids are there while it lives."""
    living = not record.status.is_terminal
    return {
        **summary(record),
        "description": record.description,
        "attempt": record.attempt,
        "preempting": record.preempting,
        "error": to_plain(record.error),
        "warnings": [{"source": "regiment", "message": text} for text in record.warnings],
        "inputDatasets": [],
        "outputDatasets": [],
        "runDefinition": run_definition(record),
        "logFiles": log_files(folder),
        "submittedBy": record.submitted_by,
        "folder": str(folder.root),
        "scheduler": to_plain(record.scheduler),
        "coordinator": to_plain(record.coordinator) if living else None,
        "nodes": [_node(to_plain(node), living) for node in record.nodes],
        "processes": [_process(row, living) for row in process_rows(folder)],
    }


def _node(node: dict[str, Any], living: bool) -> dict[str, Any]:
    if not living:
        node.update(agentPid=None, keeperPid=None, socket=None)
        if node["state"] not in ("released", "lost"):
            node["state"] = "lost"  # Its coordinator died before it could write the end of it.
    return node


def _process(row: dict[str, Any], living: bool) -> dict[str, Any]:
    """Give a row as it is true: nobody saw the end of a process whose coordinator died."""
    if not living and row["status"] == "Running":
        row["status"] = "Lost"
    return row


_ROW = {"rank": int, "nodeRank": int, "nodeId": str, "name": str, "status": str, "log": str, "firstFailure": bool}
_MAY_BE_NULL = {"pid", "exitCode", "signal", "startTimeUtc", "endTimeUtc"}


def _is_whole(row: dict[str, Any]) -> bool:
    """Say whether a row is as it was written, whatever has befallen its file."""
    return row.keys() >= _MAY_BE_NULL and all(type(row[key]) is kind for key, kind in _ROW.items())


def process_rows(folder: RunFolder) -> list[dict[str, Any]]:
    """Give the rows of `process_status.json` that are whole; none where the run has not come that far."""
    try:
        rows = json.loads((folder.attempt_logs_link / "process_status.json").read_text("utf-8"))["processes"]
        return [row for row in rows if _is_whole(row)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def log_files(folder: RunFolder) -> dict[str, str]:
    """Give the run's logs by the names Azure ML gives them, with their paths."""
    found: dict[str, str] = {}
    for top in (folder.attempt_logs_link, folder.logs):
        for path in sorted(Path(top).rglob("*")):
            if path.is_file():
                found[str(path.relative_to(folder.root))] = str(path)
    return found
