"""Nothing of a run outlives it: what forks away, hides, or cannot be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from regiment.launcher.node.cgroups import MemoryGroup

from ..conftest import ENDLESS, GUARD, Lab

GROUPS = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")]


def node_groups(tags: set[str]) -> list[Path]:
    """Give the control groups of nodes with these tags; other tests have runs of their own meanwhile."""
    names = {f"regiment-{tag}" for tag in tags}
    folders = (folder for top in GROUPS for folder in os.walk(top))  # It goes on where a group is gone by then.
    return [Path(top, name) for top, inner, _ in folders for name in names.intersection(inner)]


def tags_of(lab: Lab) -> set[str]:
    """Give the tags of the nodes whose processes live now."""
    environs = (lab.environment(pid).split(b"\0") for pid in lab.processes())
    return {word[13:].decode() for words in environs for word in words if word.startswith(b"REGIMENT_TAG=")}


def can_have_groups() -> bool:
    """Say whether this machine lets us make groups of version 2 that can be killed whole."""
    own = Path("/proc/self/cgroup").read_text().splitlines()
    path = next((row[3:] for row in own if row.startswith("0::")), None)
    top = next((top for top in reversed(GROUPS) if (top / "cgroup.controllers").exists()), None)
    if path is None or top is None or not os.access(f"{top}{path}", os.W_OK):
        return False
    probe = Path(f"{top}{path}/regiment-probe-{os.getpid()}")
    probe.mkdir()
    try:
        return (probe / "cgroup.kill").exists()
    finally:
        probe.rmdir()


DAEMON = """\
import os, time
if os.fork() == 0:
    os.setsid()
    script = 'trap "" TERM HUP; echo $$ > half; mv half pid; while :; do sleep 0.01; done'
    os.execve("/bin/sh", ["sh", "-c", script], {})
while not os.path.exists("pid"): time.sleep(0.01)
print("up", flush=True)
time.sleep(3600)
"""
"""Leaves a process that ignores SIGTERM, in a session of its own and with nothing in its environment."""
FLEEING = """\
import os, time
if os.fork() == 0:
    os.setsid()
    for name in ("1", "2"):
        os.close(int(name))
    while True:  # Each generation lives for as long as it takes to fork the next, in a session of its own.
        if os.fork():
            os._exit(0)
        os.setsid()
        with open("beat", "w") as file: file.write(str(time.monotonic()))
print("up", flush=True)
time.sleep(3600)
"""
"""Leaves a process whose pid nobody can kill: by then it has forked its successor."""


def start(lab: Lab, program: str, *flags: str) -> subprocess.Popen[str]:
    """Start a program on one node and wait until it is up."""
    lab.write("program.py", program)
    process = lab.start("run", "--name", "r", *flags, "--", "python", "program.py")
    log = lab.run_folder("r") / "azureml-logs" / "70_driver_log.txt"
    lab.wait_until(lambda: log.exists() and "up\n" in log.read_text())
    return process


def test_a_daemon_that_cleared_its_environment_is_dead_before_the_run_has_ended(lab: Lab) -> None:
    process = start(lab, DAEMON, "--grace", "0.2")
    daemon = int((lab.folder / "pid").read_text())
    assert lab.run("cancel", "r").returncode == 0
    process.communicate(timeout=GUARD)
    with pytest.raises(ProcessLookupError):
        os.kill(daemon, 0)


def test_a_process_that_runs_away_by_forking_all_the_time_is_caught_in_its_control_group(lab: Lab) -> None:
    if not can_have_groups():
        pytest.skip("this machine lets nobody make control groups of version 2 here")
    process = start(lab, FLEEING)
    lab.wait_until((lab.folder / "beat").exists)
    assert lab.run("cancel", "r").returncode == 0
    process.communicate(timeout=GUARD)
    assert process.returncode == 4
    last = (lab.folder / "beat").read_text()
    os.sched_yield()
    assert (lab.folder / "beat").read_text() == last


HEADLESS = """\
import ctypes, os, threading, time
def work():
    with open("half", "w") as file: file.write(str(os.getpid()))
    os.rename("half", "pid")
    while True: time.sleep(0.01)
threading.Thread(target=work).start()
print("up", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
"""Goes on without its first thread; the kernel shows it as a zombie then, and nothing of its environment."""


def test_a_process_whose_first_thread_has_ended_is_no_zombie_and_is_ended_as_well(lab: Lab) -> None:
    lab.write(
        "program.py", "import subprocess, sys\nsubprocess.run([sys.executable, 'headless.py'], start_new_session=True)"
    )
    lab.write("headless.py", HEADLESS)
    process = lab.start("run", "--name", "r", "--grace", "0.2", "--", "python", "program.py")
    lab.wait_until((lab.folder / "pid").exists)
    headless = int((lab.folder / "pid").read_text())
    lab.wait_until(lambda: Path(f"/proc/{headless}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GUARD)
    with pytest.raises(ProcessLookupError):
        os.kill(headless, 0)


@pytest.mark.parametrize("victims", [(), ("agentPid",), ("keeperPid",), ("agentPid", "keeperPid")])
def test_no_control_group_outlives_its_node(lab: Lab, victims: tuple[str, ...]) -> None:
    process = start(lab, "print('up', flush=True)\nimport time; time.sleep(3600)")
    tags = tags_of(lab)
    assert tags
    if can_have_groups():
        assert node_groups(tags)
    if victims:
        lab.kill_node("r", 0, *victims)
    else:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=GUARD)
    lab.wait_until(lambda: not node_groups(tags))


SAVING = """\
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(0)))
print("up", flush=True)
time.sleep(3600)
"""


def test_as_process_1_of_a_container_a_run_reaps_zombies_and_minds_signals(lab: Lab) -> None:
    """`regiment run` is process 1 of a process namespace of its own."""
    lab.write("program.py", SAVING)
    command = [sys.executable, "-m", "regiment", "run", "--name", "r", "--grace", ENDLESS, "--", "python", "program.py"]
    process = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *command],
        cwd=lab.folder,
        env=lab.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = lab.run_folder("r") / "azureml-logs" / "70_driver_log.txt"
    lab.wait_until(lambda: log.exists() and "up\n" in log.read_text())
    (first,) = (pid for pid in lab.processes() if lab.parent(pid) == process.pid)
    enter = ["nsenter", "--target", str(first), "--pid", "--mount"]
    subprocess.run([*enter, "setsid", "-f", "sh", "-c", f"touch {lab.folder}/orphan"], check=True, env=lab.environ)
    lab.wait_until((lab.folder / "orphan").exists)
    lab.wait_until(lambda: not zombies(first))
    os.kill(first, signal.SIGTERM)
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 143, err
    assert "saved" in lab.log("r", "70_driver_log.txt")


def zombies(root: int) -> list[int]:
    """Give the ended and unreaped children of a process, whoever it adopted them from."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z" and int(fields[1]) == root:
            found.append(int(folder.name))
    return found


@pytest.fixture
def icebox(lab: Lab) -> Iterator[Path]:
    """Give a freezer: what is in it and frozen does not die of SIGKILL, as a process stuck in the kernel doesn't."""
    folder = Path("/sys/fs/cgroup/freezer") / f"regiment-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no freezer of version 1 can be made here: {error}")
    yield folder
    tags = tags_of(lab)
    (folder / "freezer.state").write_text("THAWED")
    while (folder / "cgroup.procs").read_text():
        pass  # What is thawed dies of the SIGKILL that waits for it.
    folder.rmdir()
    for group in node_groups(tags):
        try:
            group.rmdir()  # The run could not, with the process still in it.
        except FileNotFoundError:
            pass  # Whoever was still at it was faster.


@pytest.mark.slow
def test_cancelling_a_process_that_cannot_be_killed_returns_and_says_so(lab: Lab, icebox: Path) -> None:
    process = start(lab, "print('up', flush=True)\nimport time; time.sleep(3600)", "--grace", "0.2")
    lab.wait_until(lambda: lab.status("r")[0]["pid"])
    stuck = lab.status("r")[0]["pid"]
    (icebox / "cgroup.procs").write_text(str(stuck))
    (icebox / "freezer.state").write_text("FROZEN")
    lab.wait_until(lambda: (icebox / "freezer.state").read_text().strip() == "FROZEN")
    assert lab.run("cancel", "r").returncode == 0
    took = lab.wait_until(lambda: process.poll() is not None)
    _, err = process.communicate()
    print(f"cancelled in {took:.1f} s")
    assert process.returncode == 4, err
    assert f"process {stuck} " in err and "cannot be killed" in err
    assert took < 12


V1 = "4:memory:/box/job\n0::/\n", "35 31 0:32 /box {0}/memory rw - cgroup cgroup rw,memory\n"
V2 = "0::/box/job/regiment-x\n", "35 31 0:32 / {0}/unified rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("own", "files", "counted"),
    [
        (
            V1,
            {
                "memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
                "memory/job/memory.limit_in_bytes": "1048576\n",
                "memory/job/memory.max_usage_in_bytes": "1000\n",
            },
            (3, 1048576, 1000),
        ),
        (
            V1,
            {
                "memory/job/memory.oom_control": "oom_kill 0\n",
                "memory/job/memory.limit_in_bytes": "9223372036854771712\n",
            },
            (0, None, None),
        ),
        (
            V2,
            {
                "unified/box/job/memory.events": "low 0\noom 2\noom_kill 1\n",
                "unified/box/job/memory.max": "max\n",
                "unified/box/job/memory.peak": "1000\n",
                "unified/box/job/cgroup.procs": "",
                "unified/box/job/regiment-x/cgroup.procs": "",
            },
            (1, None, 1000),
        ),
        (
            V2,
            {"unified/box/job/regiment-x/cgroup.procs": "", "proc/vmstat": "nr_free 1\noom_kill 5\n"},
            (5, None, None),
        ),
        (("", ""), {}, None),
    ],
    ids=["version 1", "no limit", "version 2", "the machine's", "none"],
)
def test_memory_is_counted_in_the_group_that_counts_it(
    tmp_path: Path, own: tuple[str, str], files: dict[str, str], counted: tuple[int, int | None, int | None] | None
) -> None:
    files = {**files, "proc/self/cgroup": own[0], "proc/self/mountinfo": own[1].format(tmp_path)}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = MemoryGroup(f"{tmp_path}/proc").now()
    assert (None if found is None else (found.oom_kills, found.limit, found.peak)) == counted
