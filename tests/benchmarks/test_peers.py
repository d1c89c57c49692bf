"""What happens when things go wrong, in milliseconds: the numbers of docs/peers.md."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.launcher.conftest import GUARD, Lab, open_lab

pytestmark = pytest.mark.benchmark
TRIES = 6

TWO = """\
import os, signal, subprocess, sys, time
rank, stubborn, daemon = os.environ["RANK"], "stubborn" in sys.argv, "daemon" in sys.argv
def told(number, frame):
    open("told-" + rank, "w").write(f"{signal.Signals(number).name} {time.monotonic()}")
    if not stubborn: os._exit(1)
for name in (signal.SIGTERM, signal.SIGUSR1): signal.signal(name, told)
if daemon: subprocess.Popen(["setsid", "-f", "sleep", "3600"])
open("up-" + rank, "w").write(str(os.getpid()))
while not ("fail" in sys.argv and rank == "1" and os.path.exists("up-0")): time.sleep(0.001)
open("failed", "w").write(str(time.monotonic()))
sys.exit(7)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with open_lab(tmp_path) as lab:
        yield lab


def start(lab: Lab, *arguments: str, flags: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start two ranks on two nodes and wait until both are up."""
    lab.write("two.py", TWO)
    for name in ("up-0", "up-1", "told-0", "failed"):
        (lab.folder / name).unlink(missing_ok=True)
    command = ("--nodes", "2", *flags, "--", "python", "-I", "-S", "two.py", *arguments)
    process = lab.start("run", "--name", f"run-{len(lab.started)}", *command)
    lab.wait_until(lambda: all((lab.folder / f"up-{n}").exists() for n in (0, 1)))
    return process


def record(lab: Lab) -> dict[str, object]:
    path = lab.run_folder(f"run-{len(lab.started) - 1}") / "run.json"
    lab.wait_until(lambda: all(node["agentPid"] for node in json.loads(path.read_text())["nodes"]))
    data: dict[str, object] = json.loads(path.read_text())
    return data


def ranks_end(lab: Lab) -> float:
    """How long the ranks and all they started still live."""
    return lab.wait_until(lambda: not lab.that_run(b"two.py\0") and not lab.that_run(b"sleep\0"))


def say(what: str, numbers: list[float]) -> None:
    print(f"\n{what}: {min(numbers) * 1000:.0f} to {max(numbers) * 1000:.0f} ms in {len(numbers)} runs")


def test_peers_of_a_rank_that_fails_get_sigterm(lab: Lab) -> None:
    took = []
    for _ in range(TRIES):
        process = start(lab, "fail", flags=("--pass-exit-code",))
        process.communicate(timeout=GUARD)
        assert process.returncode == 7
        name, at = (lab.folder / "told-0").read_text().split()
        assert name == "SIGTERM"
        took.append(float(at) - float((lab.folder / "failed").read_text()))
    say("from a rank's exit with 7 to its peer's SIGTERM (0.15 s of it to see who else fails by himself)", took)


def test_a_peer_that_ignores_sigterm_is_killed_after_the_grace(lab: Lab) -> None:
    took = []
    for _ in range(3):
        process = start(lab, "fail", "stubborn", flags=("--grace", "1"))
        process.communicate(timeout=GUARD)
        took.append(time.monotonic() - float((lab.folder / "told-0").read_text().split()[1]))
    say("from SIGTERM to the end of a run of stubborn ranks, with a grace of 1 s", took)


KILLS: dict[str, Callable[[subprocess.Popen[str], dict[str, object]], int]] = {
    "regiment run": lambda process, _: process.pid,
    "coordinator": lambda _, run: run["coordinator"]["pid"],  # type: ignore[index]
    "an agent": lambda _, run: run["nodes"][1]["agentPid"],  # type: ignore[index]
    "a keeper": lambda _, run: run["nodes"][1]["keeperPid"],  # type: ignore[index]
}


@pytest.mark.parametrize("victim", KILLS)
def test_nothing_outlives_a_kill_9(lab: Lab, victim: str) -> None:
    took = []
    for _ in range(3):
        process = start(lab, "daemon")
        os.kill(KILLS[victim](process, record(lab)), signal.SIGKILL)
        took.append(ranks_end(lab))
        process.communicate(timeout=GUARD)
    say(f"SIGKILL of {victim}: until both ranks and their setsid daemons are dead", took)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_launcher_ends_the_run(lab: Lab, number: signal.Signals) -> None:
    took = []
    for _ in range(TRIES):
        process = start(lab, "daemon")
        started = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=GUARD)
        took.append(time.monotonic() - started)
        assert process.returncode == 128 + number
        assert not lab.that_run(b"two.py\0") and not lab.that_run(b"sleep\0")
    say(f"{number.name} to `regiment run`: until it has ended, exit status {128 + number}", took)


def test_a_preemption_notice_reaches_every_rank(lab: Lab) -> None:
    took = []
    for _ in range(3):
        process = start(lab)
        started = time.monotonic()
        os.kill(record(lab)["nodes"][0]["agentPid"], signal.SIGUSR1)  # type: ignore[index]
        told = [lab.folder / f"told-{n}" for n in (0, 1)]
        lab.wait_until(lambda told=told: any(path.exists() and path.read_text() for path in told))  # type: ignore[misc]
        assert process.poll() is None or process.returncode != -signal.SIGUSR1
        took.append(time.monotonic() - started)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=GUARD)
        for path in told:
            path.unlink(missing_ok=True)
    say("SIGUSR1 to an agent: until a rank has it", took)


@pytest.mark.parametrize("megabytes", [211, 1000])
def test_a_flood_is_kept_byte_exact_in_little_memory(lab: Lab, megabytes: int) -> None:
    from tests.launcher.faults.test_logs import peak_memory

    lab.write(
        "flood.py",
        "import sys, time\nblock = (b'x' * 99 + b'\\n') * 10_000\nstarted = time.monotonic()\n"
        f"for _ in range({megabytes}): sys.stdout.buffer.write(block)\n"
        "open('took', 'w').write(str(time.monotonic() - started))\ntime.sleep(3600)\n",
    )
    process = lab.start("run", "--name", "r", "--", "python", "-I", "-S", "flood.py")
    lab.wait_until(lambda: (lab.folder / "took").exists() and (lab.folder / "took").read_text())
    log = lab.run_folder("r") / "azureml-logs/70_driver_log.txt"
    lab.wait_until(lambda: log.stat().st_size == megabytes * 1_000_000)
    run = json.loads((lab.run_folder("r") / "run.json").read_text())
    pids = {"viewer": process.pid, "coordinator": run["coordinator"]["pid"], "agent": run["nodes"][0]["agentPid"]}
    rate = megabytes / float((lab.folder / "took").read_text())
    memory = ", ".join(f"{name} {peak_memory(pid):.0f} MB" for name, pid in pids.items())
    print(f"\n{megabytes} MB from one rank, whose viewer nobody reads: {rate:.0f} MB/s; most memory: {memory}")
    process.kill()


def test_nothing_of_ours_listens_on_the_network(lab: Lab) -> None:
    process = start(lab)
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening.add(f"socket:[{fields[9]}]")
    for pid in lab.processes():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                assert str(link.readlink()) not in listening
            except FileNotFoundError:
                continue
    print("\nsockets of ours that listen on the network: 0")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GUARD)
