"""The sorts of files in a run's folder, as whoever brings them from another machine has to tell them apart."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_NODE = r"(?:node-\d+/)?"
_LOGS = rf"attempts/\d+/azureml-logs/{_NODE}"
GROWING = re.compile(
    rf"events\.jsonl|attempts/\d+/ledger\.jsonl|{_LOGS}[\w.-]+\.txt|metrics/[\w.-]+|logs/azureml/[\w.-]+"
)
"""What is only ever appended to."""
REWRITTEN = re.compile(rf"plan\.json|report\.(?:md|json)|{_LOGS}process_(?:info|status)\.json")
"""What is written anew each time, and small."""
_OWN = ("attempts", "metrics", "logs/azureml")
RESULTS = ("outputs", "logs", "artifacts", "attempts", "metrics")
"""The folders that are brought whole when the run has ended."""
State = list[int]
"""A file's size and when it was changed, in nanoseconds of Unix time."""


def own_files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Give what we write of a run ourselves: it is brought while the run goes on."""
    for name in ("events.jsonl", "plan.json", "report.md", "report.json"):
        if (root / name).is_file():
            yield name, (root / name).stat()
    yield from _below(root, _OWN)


def all_files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Give everything that belongs to a run's results."""
    yield from own_files(root)
    yield from _below(root, RESULTS)


def state_of(found: os.stat_result) -> State:
    """Give what a file is known by."""
    return [found.st_size, found.st_mtime_ns]


def _below(root: Path, tops: tuple[str, ...]) -> Iterator[tuple[str, os.stat_result]]:
    for top in tops:
        for folder, _, names in os.walk(root / top):
            for name in names:
                place = Path(folder, name)
                try:
                    found = place.lstat()
                except FileNotFoundError:
                    continue  # It was one that is renamed when it is whole.
                yield str(place.relative_to(root)), found
