"""How long a person waits from his command until eight ranks have added a number up. `make bench` prints the numbers.

The ways alternate, so that a busy moment of the machine meets all of them; what counts is how they compare.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.torch]

RANKS = 8
ROUNDS = 5
PROGRAM = """\
import time, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1)
dist.all_reduce(total)
print("sum", total.item(), time.time(), flush=True)
dist.destroy_process_group()
"""


def seconds_to_first_sum(method: str, folder: Path) -> float:
    """Give the time from the command to the last rank's sum."""
    shape = ("--nproc", str(RANKS), "--type", "pytorch", "--start-method", method)
    started = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "regiment", "run", *shape, "--", "python", "train.py"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    words = [line.split() for line in done.stdout.splitlines()]
    assert [line[-2] for line in words] == [str(float(RANKS))] * RANKS
    return max(float(line[-1]) for line in words) - started


def test_forked_ranks_meet_sooner_than_those_that_each_import_torch(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM, "utf-8")
    times: dict[str, list[float]] = {"fork": [], "spawn": []}
    for _ in range(ROUNDS):
        for method, found in times.items():
            found.append(seconds_to_first_sum(method, tmp_path))
    medians = {method: statistics.median(found) for method, found in times.items()}
    print(f"\nfrom `regiment run` to the first all-reduce of {RANKS} ranks: {medians}")
    print(f"fork needs {medians['fork'] / medians['spawn']:.2f} of the time of spawn")
    assert medians["fork"] < medians["spawn"]
