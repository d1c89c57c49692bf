"""How soon what a rank prints is in its log, beside the same program with a plain file. `make bench` prints it."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

_BYTES = 1_000_000_000
_PRINT = f"line = 'x' * 99\nfor _ in range({_BYTES // 100}): print(line)\n"
_TRIES = 5


def test_a_gigabyte_of_printed_lines_takes_little_longer_than_to_a_plain_file(tmp_path: Path) -> None:
    """Both buffered alike: what a Python in a job does without PYTHONUNBUFFERED, which Regiment sets unless told."""
    (tmp_path / "p.py").write_text(_PRINT, "utf-8")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    program = ["env", "-u", "PYTHONUNBUFFERED", sys.executable, "p.py"]
    regiment = [sys.executable, "-m", "regiment", "run", "--quiet", "--name", "r", "--", *program]
    run_folder = tmp_path / ".regiment" / "runs" / "r"
    plain, ours = [], []
    for _ in range(_TRIES):
        started = time.perf_counter()
        with (tmp_path / "plain").open("wb") as file:
            subprocess.run(program, cwd=tmp_path, env=environ, stdout=file, check=True)
        plain.append(time.perf_counter() - started)
        (tmp_path / "plain").unlink()
        started = time.perf_counter()
        subprocess.run(regiment, cwd=tmp_path, env=environ, check=True)
        ours.append(time.perf_counter() - started)
        assert (run_folder / "azureml-logs" / "70_driver_log.txt").stat().st_size == _BYTES
        shutil.rmtree(run_folder)
    ratio = statistics.median(ours) / statistics.median(plain)
    seconds = f"{statistics.median(plain):.2f} s to a plain file, {statistics.median(ours):.2f} s as a rank"
    print(f"\n1 GB of printed lines: {seconds}, ratio {ratio:.2f} (bound 1.1)")
    assert ratio <= 1.1
