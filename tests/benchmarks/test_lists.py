"""How long lists and queries take in a workspace with 100,000 runs. `make bench` prints the numbers."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from regiment.jobs.dataclass import replace
from regiment.jobs.plain import to_plain
from regiment.jobs.record import RunRecord, RunStatus, RunType, utc_text
from regiment.jobs.workspace import Workspace

from .test_startup import REGIMENT, median_seconds

pytestmark = pytest.mark.benchmark

RUNS = 100_000
FIRST = RunRecord(
    run_id="run",
    experiment_name="explore-runs",
    status=RunStatus.COMPLETED,
    created_utc="",
    command="python train.py",
    target="local",
    distribution="pytorch",
    instance_count=2,
    process_count=8,
    attached=True,
    type=RunType.COMMAND,
    exit_status=0,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder whose workspace has all those runs, and an index of them."""
    folder = tmp_path_factory.mktemp("many")
    workspace = Workspace(folder / ".regiment")
    workspace.runs.mkdir(parents=True, mode=0o700)
    workspace.root.chmod(0o700)
    for number in range(RUNS):
        record = replace(
            FIRST,
            run_id=f"run-{number:06}",
            experiment_name=f"experiment-{number % 100}",
            created_utc=utc_text(1.6e9 + number),
            tags={"quality": "fantastic run" if number % 1000 == 7 else "poor"},
            properties={"author": f"user-{number % 10}"},
        )
        root = workspace.runs / record.run_id
        root.mkdir(mode=0o700)
        (root / "run.json").write_text(json.dumps(to_plain(record)), "utf-8")
    started = time.perf_counter()
    subprocess.run([*REGIMENT, "reindex"], cwd=folder, check=True, capture_output=True)
    print(f"\nregiment reindex of {RUNS:,} runs: {time.perf_counter() - started:.1f} s")
    return folder


@pytest.mark.parametrize(
    ("what", "arguments", "bound"),
    [
        ("the first page of regiment list", [], 0.2),
        ("a query by tag and property", ["--tag", "quality=fantastic run", "--property", "author=user-7"], 0.3),
        ("a query by experiment", ["--experiment", "experiment-7"], 0.3),
    ],
)
def test_lists_of_many_runs_are_quick(what: str, arguments: list[str], bound: float, folder: Path) -> None:
    took = median_seconds([*REGIMENT, "list", *arguments], folder)
    print(f"\n{what}, of {RUNS:,} runs: {took * 1000:.0f} ms (bound {bound * 1000:.0f} ms)")
    assert took < bound
