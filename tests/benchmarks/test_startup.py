"""How long a person waits before his own program starts. `make bench` prints the numbers.

Wall time of whole processes; the median of several runs, for machines are noisy. The bounds are those of the project.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

REGIMENT = [str(Path(sys.executable).parent / "regiment")]


def median_seconds(argv: list[str], folder: Path, runs: int = 11) -> float:
    """Run a command several times, once more for the caches first, and give the median of its wall time."""
    times = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


@pytest.mark.parametrize(
    ("what", "arguments", "bound"),
    [
        ("regiment --help", ["--help"], 0.15),
        ("regiment run -- true", ["run", "--", "true"], 0.5),
        ("regiment run --nodes 2 -- true", ["run", "--nodes", "2", "--", "true"], 0.6),
        ("regiment run --detach -- true", ["run", "--detach", "--", "true"], 0.4),
        ("regiment list (of 50 runs)", ["list"], 0.3),
    ],
)
def test_commands_answer_quickly(what: str, arguments: list[str], bound: float, tmp_path: Path) -> None:
    if what.startswith("regiment list"):
        for _ in range(50):
            subprocess.run([*REGIMENT, "run", "-q", "--", "true"], cwd=tmp_path, check=True)
    took = median_seconds([*REGIMENT, *arguments], tmp_path)
    print(f"\n{what}: {took * 1000:.0f} ms (bound {bound * 1000:.0f} ms)")
    assert took < bound


def test_what_regiment_adds_to_a_program_is_little(tmp_path: Path) -> None:
    """From the command to the program's first line, less what the program itself takes to start."""
    program = [sys.executable, "-I", "-S", "-c", "import time; print(time.time())"]
    waits = []
    for _ in range(11):
        started = time.time()
        result = subprocess.run(
            [*REGIMENT, "run", "--", *program], cwd=tmp_path, capture_output=True, check=True, text=True
        )
        waits.append(float(result.stdout) - started)
    took = statistics.median(waits)
    print(f"\nfrom `regiment run` to the program's first line: {took * 1000:.0f} ms")
    assert took < 0.4
