"""The verdict: what failed first, why, and of what kind that was, for people and for programs."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from regiment.distribution.decide import decide
from regiment.distribution.events import NodePrepared, NodeUp, ProcessExited, ProcessStarted
from regiment.distribution.plan import Plan
from regiment.distribution.planner import make_plan
from regiment.distribution.state import Policy, State, first_state
from regiment.jobs.placement import Node, Placement
from regiment.jobs.spec import ArgvCommand, JobSpec, Options, PyTorch, StartMethod
from regiment.jobs.workspace import Workspace
from regiment.launcher.coordinator.investigation import investigate

from ...timing import fastest
from ..conftest import GUARD, Lab


def report(lab: Lab, name: str = "r") -> dict[str, Any]:
    """Give a run's report."""
    found: dict[str, Any] = json.loads((lab.run_folder(name) / "report.json").read_text("utf-8"))
    return found


CHAINED = """\
def load():
    raise ValueError("bad batch")
try:
    load()
except ValueError as error:
    raise RuntimeError("step 3 failed") from error
"""
SEGFAULT = """\
import ctypes
def crash():
    ctypes.string_at(0)
crash()
"""
THREADED = """\
import os, threading
def work():
    try:
        raise OSError("in a thread")
    finally:
        import traceback; traceback.print_exc(); os._exit(9)
threading.Thread(target=work).start()
"""


@pytest.mark.parametrize(
    ("program", "ended", "details"),
    [
        (
            CHAINED,
            (1, None),
            ["RuntimeError: step 3 failed at {file}:6", "it came of ValueError: bad batch at {file}:2"],
        ),
        (SEGFAULT, (None, "SIGSEGV"), ["Fatal Python error: Segmentation fault at {file}:3"]),
        ("import os\nos.abort()\n", (None, "SIGABRT"), ["Fatal Python error: Aborted at {file}:2"]),
        (THREADED, (9, None), ["OSError: in a thread at {file}:4"]),
        ("import sys\nprint('bye')\nsys.exit(138)\n", (138, None), []),
        ("x = (\n", (1, None), ["SyntaxError: '(' was never closed at {file}:1"]),
    ],
    ids=["chained", "segfault", "abort", "thread", "exit", "syntax"],
)
def test_the_exception_is_found_without_anything_in_the_users_program(
    lab: Lab, program: str, ended: tuple[int | None, str | None], details: list[str]
) -> None:
    file = lab.write("train.py", program)
    # Cores are another test's; as a shell would have it.
    result = lab.run("run", "--name", "r", "--", "sh", "-c", f"ulimit -c 0; exec python {file}")
    assert result.returncode == 1
    cause = report(lab)["cause"]
    assert (cause["exitCode"], cause["signal"]) == ended
    assert cause["details"] == [detail.format(file=file) for detail in details]
    assert cause["kind"] == "user_error"
    for detail in cause["details"]:
        assert detail in result.stderr and detail in (lab.run_folder("r") / "report.md").read_text()


def test_the_report_names_the_cause_and_why_the_others_are_not_to_blame(lab: Lab) -> None:
    script = f"{lab.everybody(3)}; [ $RANK != 1 ] || exit 7; sleep 3600"
    assert lab.run("run", "--name", "r", "--nodes", "3", "--", "sh", "-c", script).returncode == 1
    found = report(lab)
    assert (found["runId"], found["attempt"], found["status"]) == ("r", 0, "Failed")
    assert found["message"] == "rank 1 on node-1 failed first: exit code 7"
    assert (found["cause"]["rank"], found["cause"]["nodeId"]) == (1, "node-1")
    assert found["cause"]["host"] == os.uname().nodename and found["cause"]["pid"]
    assert [(row["rank"], row["signal"], row["why"]) for row in found["followed"]] == [
        (rank, "SIGTERM", f"rank {rank} on node-{rank}: stopped by Regiment after that") for rank in (0, 2)
    ]
    assert found["stacks"] == []


def test_show_gives_the_head_of_the_verdict_and_where_the_rest_is(lab: Lab) -> None:
    lab.write("train.py", CHAINED)
    result = lab.run("run", "--name", "r", "--", "python", "train.py")
    path = str(lab.run_folder("r") / "report.md")
    assert f"report   {path}" in result.stderr
    shown = lab.run("show", "r").stdout
    assert path in shown and "RuntimeError: step 3 failed at" in shown
    assert lab.show("r")["error"]["kind"] == "user_error"


def test_a_completed_run_has_no_report_and_a_cancelled_one_says_who_wanted_it(lab: Lab) -> None:
    assert lab.run("run", "--name", "good", "--", "true").returncode == 0
    assert not (lab.run_folder("good") / "report.json").exists()
    assert lab.run("run", "--name", "r", "--timeout", "0.5", "--", "sleep", "3600").returncode == 4
    found = report(lab)
    assert (found["status"], found["cause"]) == ("Canceled", None)
    assert "time limit" in found["message"]


def test_a_log_cannot_send_commands_to_the_terminal_that_reads_the_report(lab: Lab) -> None:
    lab.write("train.py", "raise ValueError('\\x1b]0;owned\\x07')")
    lab.run("run", "--name", "r", "--", "python", "train.py")
    text = (lab.run_folder("r") / "report.md").read_text("utf-8")
    assert "\x1b" not in text and "\\x1b]0;owned\\x07" in text


def test_a_sigkill_from_outside_is_told_from_one_for_memory(lab: Lab) -> None:
    process = lab.start("run", "--name", "r", "--", "sleep", "3600")
    lab.wait_until_running("r", 1)
    lab.wait_until(lambda: lab.status("r")[0]["pid"])
    os.kill(lab.status("r")[0]["pid"], signal.SIGKILL)
    process.communicate(timeout=GUARD)
    cause = report(lab)["cause"]
    assert (cause["signal"], cause["kind"]) == ("SIGKILL", "infrastructure")
    assert cause["details"] == ["killed by SIGKILL from outside: the kernel killed nothing for want of memory"]


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """Give a memory control group of 256 MiB, of whichever version the machine has."""
    own = Path("/proc/self/cgroup").read_text().splitlines()
    first = next((row.split(":", 2)[2] for row in own if "memory" in row.split(":")[1].split(",")), None)
    parent = Path("/sys/fs/cgroup") if first is None else Path(f"/sys/fs/cgroup/memory{first}")
    names = ("memory.max", "memory.swap.max") if first is None else ("memory.limit_in_bytes", "memory.swappiness")
    folder = parent / f"regiment-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / names[0]).write_text(str(256 << 20))
        if (folder / names[1]).exists():
            (folder / names[1]).write_text("0")
    except OSError as error:
        folder.rmdir() if folder.exists() else None
        pytest.skip(f"no memory control group can be made here: {error}")
    yield folder
    folder.rmdir()


def test_a_process_that_the_kernel_killed_for_memory_is_out_of_memory(lab: Lab, small_memory: Path) -> None:
    lab.write("train.py", "x = []\nwhile True: x.append(b'x' * (1 << 24))")
    enter = f'echo $$ > {small_memory}/cgroup.procs && exec "$@"'
    command = [sys.executable, "-m", "regiment", "run", "--name", "r", "--", "python", "train.py"]
    process = subprocess.run(
        ["sh", "-c", enter, "sh", *command],
        cwd=lab.folder,
        env=lab.environ,
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )
    assert process.returncode == 1, process.stderr
    cause = report(lab)["cause"]
    assert (cause["signal"], cause["kind"]) == ("SIGKILL", "out_of_memory")
    assert cause["memory"]["oomKills"] == 1 and cause["memory"]["limit"] == 256 << 20
    assert "out of memory: the kernel killed one process of its node for it; limit 256 MiB" in process.stderr


FULL = """\
import mmap, os
with open("/dev/shm/batch", "wb+") as file:
    os.ftruncate(file.fileno(), 8 << 20)
    memory = mmap.mmap(file.fileno(), 8 << 20)
    memory[:] = b"x" * (8 << 20)
"""


def test_a_bus_error_with_a_full_shared_memory_is_out_of_memory(lab: Lab) -> None:
    """In a mount namespace of its own, so that the small shared memory goes with the last process."""
    lab.write("train.py", FULL)
    script = (
        f"mount -t tmpfs -o size=2m none /dev/shm; exec {sys.executable} -m regiment run --name r -- python train.py"
    )
    process = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=lab.folder,
        env=lab.environ,
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )
    assert process.returncode == 1, process.stderr
    cause = report(lab)["cause"]
    assert (cause["signal"], cause["kind"]) == ("SIGBUS", "out_of_memory")
    assert "out of shared memory: /dev/shm is full" in process.stderr


def test_the_core_file_of_a_crash_is_named(lab: Lab) -> None:
    lab.write("train.py", "import os\nos.abort()\n")
    allow = "ulimit -c unlimited; exec python train.py"
    assert lab.run("run", "--name", "r", "--", "sh", "-c", allow).returncode == 1
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    limit = resource.getrlimit(resource.RLIMIT_CORE)[1]
    core = report(lab)["cause"]["core"]
    if limit == 0 or not pattern:
        assert core is None
    elif pattern.startswith("|"):
        assert core is None or "handed to" in core
    else:
        assert core is not None and Path(core).stat().st_size > 0


def failed_everywhere(world: int) -> State:
    """Give the state of a run on one node all of whose processes failed, the last rank first."""
    state = first_state(Policy(), (world,), 0.0)
    for event in (NodeUp(0), NodePrepared(0)):
        state, _ = decide(state, event, 1.0)
    for rank in range(world):
        state, _ = decide(state, ProcessStarted(rank, 100 + rank), 2.0)
    for rank in reversed(range(world)):
        state, _ = decide(state, ProcessExited(rank, 1, None, False, 3.0 + (world - rank) / 1e4), 3.0)
    return state


def plan_of(world: int) -> Plan:
    node = Node(0, "node-0", "here", "127.0.0.1", world, (0,), sys.executable)
    spawn = Options(start_method=StartMethod.SPAWN)
    spec = JobSpec(ArgvCommand(("true",)), "x", distribution=PyTorch(world), options=spawn)
    return make_plan(spec, Placement((node,), "1"), "r", 0)


def test_the_verdict_of_a_thousand_processes_with_large_logs_takes_a_tenth_of_a_second(tmp_path: Path) -> None:
    world = 1000
    folder, plan, state = Workspace(tmp_path).run("r"), plan_of(world), failed_everywhere(world)
    logs = folder.root / "azureml-logs"
    logs.mkdir(parents=True)
    peers = b"epoch 1\n" * 2000 + b"RuntimeError: Connection closed by peer [127.0.0.1]:1\n"
    for process in plan.processes:
        (logs / process.log).write_bytes(peers)
    with (logs / plan.processes[-1].log).open("ab") as file:
        file.seek(1 << 30)  # A gigabyte, of which the disk keeps little.
        file.write(b"\n" + b"loss: 3.2\n" * 100_000 + b"Traceback (most recent call last):\nValueError: bad batch\n")

    def collect() -> None:
        _, found = investigate(folder, plan, state, {})
        assert found is not None and found.cause is not None
        assert found.cause.rank == world - 1 and found.cause.details[0] == "ValueError: bad batch"

    took = fastest(collect, enough=0.1)
    print(f"collected from {world} processes in {took * 1000:.0f} ms")
    assert took < 0.1
