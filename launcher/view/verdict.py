"""The last lines about a run: who is to blame and what its log says, then id, folder and result; pure."""

from __future__ import annotations

from pathlib import Path

from regiment.jobs.words import counted

from .escape import printable, printable_lines
from .model import ErrorView, RunView
from .words import duration

FOLLOWERS_NAMED = 4
"""So many of the processes that went down after the first are named; the others are counted."""
_LONGEST = 1000


def verdict_lines(error: ErrorView) -> list[str]:
    """Say why a run did not complete: the message, what is known besides, the end of the log, and who followed."""
    lines = printable_lines(error.message)
    lines.extend(_cut(printable(detail)) for detail in error.details)
    if error.tail:
        log = printable(error.log or "its log")
        count = "line" if len(error.tail) == 1 else f"{len(error.tail)} lines"
        lines.append(f"last {count} of {log}:")
        lines.extend(f"    {_cut(printable(line))}".rstrip() for line in error.tail)
    elif error.log:
        lines.append(f"see {printable(error.log)}")
    lines.extend(printable(line) for line in error.followed[:FOLLOWERS_NAMED])
    more = len(error.followed) - FOLLOWERS_NAMED
    if more > 0:
        lines.append(f"and {counted(more, 'more process', 'more processes')}")
    return lines


def closing_lines(view: RunView, run_folder: Path) -> list[str]:
    """Give the run's id, folder, result and elapsed time, a line each."""
    ended = view.ended
    if ended is None:
        return []
    result = printable(ended.status)
    if ended.exit_status:
        result += f", exit status {ended.exit_status}"
    report = ended.error.report if ended.error is not None else None
    return [
        f"run      {printable(view.run_id)}",
        f"folder   {printable(str(run_folder))}",
        *([] if report is None else [f"report   {printable(str(run_folder / report))}"]),
        f"result   {result}",
        f"elapsed  {duration(ended.elapsed_seconds)}",
    ]


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} … ({len(line) - _LONGEST} more characters)"
