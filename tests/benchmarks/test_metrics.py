"""What logging a metric costs a training process. `make bench` prints the numbers."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regiment.jobs.metrics import MetricWriter, read_metrics

pytestmark = pytest.mark.benchmark

RANKS, SECONDS, RATE = 8, 5, 10_000

RANK = """
import sys, time
from regiment.jobs.metrics import MetricWriter
folder, rank, count, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
writer = MetricWriter(folder, f"rank_{rank}")
sys.stdin.readline()
started = time.perf_counter()
for step in range(count):
    writer.log("loss", step * 0.1)
    if step % 100 == 99:
        time.sleep(max(0.0, started + (step + 1) / rate - time.perf_counter()))
print(time.perf_counter() - started, time.process_time())
"""


def test_a_value_is_logged_in_microseconds(tmp_path: Path) -> None:
    writer = MetricWriter(tmp_path, "rank_0")
    times = []
    for step in range(50_000):
        value = step * 0.1
        started = time.perf_counter_ns()
        writer.log("loss", value)
        times.append(time.perf_counter_ns() - started)
    writer.close()
    median, high = statistics.median(times) / 1000, sorted(times)[len(times) * 99 // 100] / 1000
    print(f"\nlogging a value: median {median:.1f} us, 99 of 100 within {high:.1f} us (bound: median 10 us)")
    assert median <= 10
    assert len(read_metrics(tmp_path)["loss"]) == len(times)


def test_eight_ranks_that_log_ten_thousand_values_a_second_lose_none(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(tmp_path), str(rank), str(SECONDS * RATE), str(RATE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    took, worked = [], []
    for rank in ranks:
        assert rank.stdin is not None
        rank.stdin.write("go\n")
        rank.stdin.flush()
    for rank in ranks:
        out, _ = rank.communicate()
        assert rank.returncode == 0
        took.append(float(out.split()[0]))
        worked.append(float(out.split()[1]))
    started = time.perf_counter()
    found = read_metrics(tmp_path)["loss"]
    read = time.perf_counter() - started
    rate = SECONDS * RATE / max(took)
    cost = sum(worked) / len(found) * 1e6
    print(f"\n{RANKS} ranks: {rate:.0f} values a second each (bound: {RATE}), {cost:.1f} us of processor time a value")
    print(f"{len(found)} of {RANKS * SECONDS * RATE} are there, read in {read:.1f} s")
    assert sorted(found) == sorted(step * 0.1 for step in range(SECONDS * RATE) for _ in range(RANKS))
    assert rate > 0.95 * RATE
