"""How long a person waits before his own program starts. `make bench` prints the numbers.

Wall time of whole processes; the median of several runs, for machines are noisy. The bounds are those of the project.
"""

from __future__ import annotations

import json
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
    """From the command to the first line of a rank that is a bare interpreter."""
    program = [sys.executable, "-I", "-S", "-c", "import time; print(time.time())"]
    waits = []
    for _ in range(12):
        started = time.time()
        result = subprocess.run(
            [*REGIMENT, "run", "--", *program], cwd=tmp_path, capture_output=True, check=True, text=True
        )
        waits.append(float(result.stdout) - started)
    took = statistics.median(waits[1:])  # The first one packs the agent.
    print(f"\nfrom `regiment run` to a bare interpreter's first line: {took * 1000:.0f} ms (bound 250 ms)")
    assert took < 0.25


_IDLE = 30.0
"""Seconds in which an idle run's processes are looked at."""


def test_keeper_and_agent_are_small_and_asleep_while_a_run_is_idle(tmp_path: Path) -> None:
    argv = [*REGIMENT, "run", "--name", "r", "--", "sleep", "1000"]
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as viewer:
        try:
            pids = _pids_of(viewer.pid, tmp_path)
            before = {who: _cpu_seconds(pid) for who, pid in pids.items()}
            time.sleep(_IDLE)
            used = {who: (_cpu_seconds(pid) - before[who]) / _IDLE * 100 for who, pid in pids.items()}
            memory = {who: _resident(pid) for who, pid in pids.items()}
        finally:
            viewer.terminate()
    for who in pids:
        print(f"\n{who}: {memory[who]:.1f} MB resident, {used[who]:.3f} % of a core while idle", end="")
    node = ("keeper", "agent")
    print(f"\nkeeper and agent: {sum(memory[w] for w in node):.1f} MB, {sum(used[w] for w in node):.3f} % of a core")
    assert sum(memory[who] for who in node) <= 35
    assert sum(used[who] for who in node) <= 0.2


def _pids_of(viewer: int, folder: Path) -> dict[str, int]:
    """Give the processes of a run that is called `r`, once its rank runs."""
    events = folder / ".regiment/runs/r/events.jsonl"
    while not (events.exists() and "process_started" in events.read_text("utf-8")):
        time.sleep(0.05)
    shown = subprocess.run(
        [*REGIMENT, "show", "r", "-o", "json"], cwd=folder, capture_output=True, check=True, text=True
    )
    run = json.loads(shown.stdout)
    node = run["nodes"][0]
    coordinator = run["coordinator"]["pid"]
    return {"viewer": viewer, "coordinator": coordinator, "keeper": node["keeperPid"], "agent": node["agentPid"]}


def _cpu_seconds(pid: int) -> float:
    """Give the time that a process's threads have run, which the scheduler counts in nanoseconds."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith("Rss:")).split()[1]) * 1024 / 1e6
