"""How long a job file takes to load. `make bench` prints the numbers."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from regiment.jobs.loader import load_job

pytestmark = pytest.mark.benchmark


def test_a_file_of_10_kb_loads_within_20_ms(tmp_path: Path) -> None:
    lines = ["command: python train.py ${{inputs.data_0}}\n", "inputs:\n"]
    number = 0
    while sum(map(len, lines)) < 10_000:
        lines.append(f"  data_{number}: {{type: uri_file, path: 'azureml:data:{number}', mode: download}}\n")
        number += 1
    (tmp_path / "job.yml").write_text("".join(lines))
    times = []
    for _ in range(21):
        started = time.perf_counter()
        load_job(Path("job.yml"), (), tmp_path, paths=False)
        times.append(time.perf_counter() - started)
    took = statistics.median(times)
    print(f"\nloading a job file of 10 KB with {number} inputs: {took * 1000:.1f} ms (bound 20 ms)")
    assert took < 0.02
