"""What a run with thousands of agents takes: `make bench TESTS=tests/benchmarks/test_scale.py` prints and publishes it.

The coordinator is the real one; the agents are simulated, 8 ranks each, in two processes on the same machine. The least
of several tries is published: others disturb, and never help.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .published import publish

pytestmark = pytest.mark.benchmark

RANKS = 8
TRIES = 3
SMALL, LARGE = 1024, 4096
TABLES = {"scale": ("plain", "floor"), "scale-secured": ("secured", "secured_floor")}
"""The carriers in each of the document's tables, and beside each its floor."""
CROWD = Path(__file__).with_name("crowd.py")
ROWS = {
    "registered": ("all agents have said hello", "s", 2),
    "prepared": ("all nodes are prepared", "s", 2),
    "ready": ("all ranks have started", "s", 2),
    "exited": ("all ranks have ended", "s", 2),
    "ended": ("the run has ended", "s", 2),
    "processor": ("processor time of the coordinator", "s", 2),
    "theirs": ("processor time of the agents", "s", 2),
    "peakMegabytes": ("memory of the coordinator at most", "MB", 0),
}


def see_through(carrier: str, nodes: int, folder: Path) -> dict[str, float]:
    """Have a run seen through, and give what it took."""
    folder.mkdir()
    command = [sys.executable, str(CROWD), carrier, str(nodes), str(RANKS), "2", str(folder)]
    took: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return took


def test_a_coordinator_is_quick_and_small_with_thousands_of_agents(tmp_path: Path) -> None:
    tries: dict[tuple[str, int], list[dict[str, float]]] = {}
    for number in range(TRIES):
        for carrier in (*TABLES["scale"], *TABLES["scale-secured"]):
            for nodes in (SMALL, LARGE):
                took = see_through(carrier, nodes, tmp_path / f"{carrier}-{nodes}-{number}")
                tries.setdefault((carrier, nodes), []).append(took)
    for name, carriers in TABLES.items():
        rows = []
        for key, (what, unit, digits) in ROWS.items():
            row = [what]
            for carrier in carriers:
                small, large = (min(took[key] for took in tries[carrier, nodes]) for nodes in (SMALL, LARGE))
                row += [f"{small:.{digits}f} {unit}", f"{large:.{digits}f} {unit}", f"{large / small:.1f}"]
            rows.append(row)
        header = [f"{who}, {what}" for who in (carriers[0], "floor") for what in (f"{SMALL:,}", f"{LARGE:,}", "growth")]
        publish(name, ["", *header], rows, f"The least of {TRIES} tries each.")
