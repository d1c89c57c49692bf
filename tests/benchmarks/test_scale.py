"""What a run with thousands of agents takes: `make bench TESTS=tests/benchmarks/test_scale.py` prints and publishes it.

The coordinator is the real one, over plain Unix sockets; the agents are simulated, 8 ranks each, in two processes on
the same machine. The last of several tries counts for nothing: the fastest does, for others disturb and never help.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .published import publish

pytestmark = pytest.mark.benchmark

RANKS = 8
TRIES = 3
SMALL, LARGE = 1024, 4096
READY, MEGABYTES, GROWTH = 5.0, 300.0, 4.4
CROWD = Path(__file__).with_name("crowd.py")


def see_through(nodes: int, folder: Path) -> dict[str, Any]:
    """Have a run seen through, and give what it took."""
    folder.mkdir()
    command = [sys.executable, str(CROWD), str(nodes), str(RANKS), "2", str(folder)]
    took: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert took["status"] == "Completed"
    assert took["started"] == took["completed"] == RANKS * nodes
    return took


def test_a_coordinator_is_quick_and_small_with_thousands_of_agents(tmp_path: Path) -> None:
    tries: dict[int, list[dict[str, Any]]] = {SMALL: [], LARGE: []}
    for number in range(TRIES):
        for nodes, found in tries.items():
            found.append(see_through(nodes, tmp_path / f"{nodes}-{number}"))
    best = {nodes: {key: _least(key, found) for key in ROWS} for nodes, found in tries.items()}
    growth = {key: best[LARGE][key] / best[SMALL][key] for key in ROWS}
    rows = [
        [what, f"{best[SMALL][key]:.{digits}f} {unit}", f"{best[LARGE][key]:.{digits}f} {unit}", f"{growth[key]:.1f}"]
        for key, (what, unit, digits) in ROWS.items()
    ]
    publish(
        "scale", ["", f"{SMALL:,} agents", f"{LARGE:,} agents", "growth"], rows, f"The least of {TRIES} tries each."
    )
    assert best[LARGE]["ready"] < READY
    assert best[LARGE]["peakMegabytes"] < MEGABYTES
    assert growth["ready"] < GROWTH


ROWS = {
    "registered": ("all agents have said hello", "s", 2),
    "prepared": ("all nodes are prepared", "s", 2),
    "ready": ("all ranks have started", "s", 2),
    "exited": ("all ranks have ended", "s", 2),
    "ended": ("the run has ended", "s", 2),
    "processor": ("processor time of the coordinator", "s", 2),
    "peakMegabytes": ("memory of the coordinator at most", "MB", 0),
}


def _least(key: str, tries: list[dict[str, Any]]) -> float:
    return float(min(took[key] for took in tries))
