"""One run as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tabulate import tabulate

from regiment.jobs.words import counted


def show_text(run: dict[str, Any]) -> str:
    """Tell how a run is doing, why it failed if it did, and what each process does."""
    return "\n".join(_lines(run))


def _lines(run: dict[str, Any]) -> Iterator[str]:
    head = [
        ("run", run["runId"]),
        ("experiment", run["experimentName"]),
        ("status", run["status"]),
        ("command", run["runDefinition"]["command"]),
        (
            "nodes",
            f"{run['instanceCount']} x {run['processCount'] // run['instanceCount']} processes on {run['target']}",
        ),
        ("started", run["startTimeUtc"] or ""),
        ("ended", run["endTimeUtc"] or ""),
        ("folder", run["folder"]),
    ]
    code = _code(run["properties"])
    if code:
        head.append(("code", code))
    if run["error"] is not None and run["error"]["report"] is not None:
        head.append(("report", f"{run['folder']}/{run['error']['report']}"))
    yield tabulate(head, tablefmt="plain", disable_numparse=True)
    if run["error"] is not None:
        yield ""
        yield from _error_lines(run["error"])
    if run["processes"]:
        yield ""
        yield tabulate(
            [_process_row(row) for row in run["processes"]],
            headers=("RANK", "NODE", "STATUS", "PID", "EXIT", "LOG"),
            tablefmt="simple",
            disable_numparse=True,
        )


def _code(properties: dict[str, str | None]) -> str:
    """Tell how big the snapshot is, and what state of which branch it was taken from."""
    from ..view.words import size

    parts = []
    files, count = properties.get("regiment.snapshot.files"), properties.get("regiment.snapshot.bytes")
    if files and count and files.isdecimal() and count.isdecimal():
        parts.append(f"{counted(int(files), 'file')}, {size(int(count))}")
    commit = properties.get("azureml.git.commit")
    if commit:
        changed = " with changes" if properties.get("azureml.git.dirty") == "True" else ""
        parts.append(f"commit {commit[:12]} of {properties.get('azureml.git.branch')}{changed}")
    return ", ".join(map(_printable, parts))


def _error_lines(error: dict[str, Any]) -> Iterator[str]:
    yield error["message"]
    yield from map(_printable, error["details"])
    if error["tail"]:
        yield f"last {len(error['tail'])} lines of {error['log']}:"
        yield from (f"    {_printable(line)}" for line in error["tail"])


def _process_row(row: dict[str, Any]) -> tuple[str, ...]:
    how = row["signal"] or ("" if row["exitCode"] is None else row["exitCode"])
    first = " (first failure)" if row["firstFailure"] else ""
    return str(row["rank"]), row["nodeId"], f"{row['status']}{first}", str(row["pid"] or ""), str(how), row["log"]


def _printable(line: str) -> str:
    from ..view.escape import printable

    return printable(line.encode("utf-8", "surrogateescape"))
