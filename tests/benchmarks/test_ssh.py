"""From the command until a process runs on each of many hosts that are 300 ms away.

All hosts are this one machine, so that what each of them does, from sshd to the agent, is done by its processors too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.clusters.ssh.bed import Bed, missing_programs, open_bed

from .published import publish

pytestmark = [pytest.mark.benchmark, pytest.mark.ssh]

ROUNDS = 2
FEW, MANY = 8, 64
ROUND_TRIP = 0.3
MOST = 3.0
"""How many times as long many hosts may take as few."""
FIRST, LATER = "first: the agent travels", "each later one"


@pytest.fixture(scope="module")
def far_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Give many hosts, all of them far away."""
    if os.geteuid() != 0 or missing_programs():
        pytest.skip("hosts of its own take root and OpenSSH's sshd")
    with open_bed(tmp_path_factory.getbasetemp(), MANY) as bed:
        bed.slow_down(ROUND_TRIP)
        yield bed


def seconds_to_start(bed: Bed, folder: Path, count: int, run_id: str) -> float:
    """Give the time from the command until the last host has its process."""
    argv = (sys.executable, "-m", "regiment", "run", "--name", run_id, "--hosts", f"h[1-{count}]", "--code", "code")
    began = time.time()
    subprocess.run(
        (*argv, "--", "true"), cwd=folder, env={**os.environ, **bed.environ}, check=True, capture_output=True
    )
    lines = (folder / ".regiment" / "runs" / run_id / "events.jsonl").read_text().splitlines()
    started = [event["timeUtc"] for event in map(json.loads, lines) if event["event"] == "process_started"]
    assert len(started) == count
    return datetime.fromisoformat(started[-1].replace("Z", "+00:00")).timestamp() - began


def forget_agents(bed: Bed) -> None:
    """Have the hosts keep nothing of an earlier run's."""
    for name in bed.hosts:
        shutil.rmtree(bed.path(name, "cache"), ignore_errors=True)


def test_many_far_hosts_start_in_at_most_three_times_the_time_of_few(far_bed: Bed, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "some.txt").touch()
    took: dict[tuple[str, int], list[float]] = {}
    for number in range(ROUNDS):
        for count in (FEW, MANY):
            forget_agents(far_bed)
            for start in (FIRST, LATER):
                seconds = seconds_to_start(far_bed, tmp_path, count, f"r{number}-{count}-{start[0]}")
                took.setdefault((start, count), []).append(seconds)
    least = {key: min(values) for key, values in took.items()}
    rows = [
        (
            start,
            f"{least[start, FEW]:.2f} s",
            f"{least[start, MANY]:.2f} s",
            f"{least[start, MANY] / least[start, FEW]:.2f}",
            ", ".join(f"{value:.2f}" for count in (FEW, MANY) for value in took[start, count]),
        )
        for start in (FIRST, LATER)
    ]
    header = ("start", f"{FEW} hosts", f"{MANY} hosts", "ratio", "all tries")
    publish("far hosts", header, rows, f"The least of {ROUNDS}.")
    assert all(least[start, MANY] <= MOST * least[start, FEW] for start in (FIRST, LATER))
