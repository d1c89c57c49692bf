"""When things go wrong: one clear verdict, and nothing left running. Real processes, really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import ENDLESS, GUARD, Lab

STUBBORN = """\
import os, signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM HUP INT; while :; do sleep 77; done"])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(3601)
    os._exit(0)
print("up", flush=True)
time.sleep(3600)
"""
"""Ignores SIGTERM and leaves a grandchild in a session of its own, and one that was forked twice."""

POLITE = """\
import signal, sys, time
def end(number, frame):
    print("saving", flush=True); time.sleep(0.3); print("saved", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(3600)
"""

ONE_FAILS = """\
import os, sys, time
open("up-" + os.environ["RANK"], "w").close()
if os.environ["RANK"] == "2":
    for n in range(30): print("line", n)
    while not all(os.path.exists(f"up-{n}") for n in range(4)): time.sleep(0.01)
    print("the reason"); sys.exit(7)
time.sleep(3600)
"""


def start(lab: Lab, program: str, *flags: str) -> subprocess.Popen[str]:
    """Start a program on two nodes and wait until it is up on both."""
    lab.write("program.py", program)
    flags = flags or ("--grace", ENDLESS)
    process = lab.start("run", "--name", "r", "--nodes", "2", *flags, "--", "python", "program.py")
    logs = [lab.run_folder("r") / "azureml-logs" / f"node-{n}" / f"70_driver_log_{n}.txt" for n in (0, 1)]
    lab.wait_until(lambda: all(log.exists() and "up\n" in log.read_text() for log in logs))
    # The status files follow what happens five times a second.
    lab.wait_until(lambda: all(row["pid"] for row in lab.status("r")))
    return process


def has_dealt_with_signals(pid: int) -> bool:
    """Say whether a process has taken all that was sent to it, and waits for the next thing to happen, or is gone."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    pending = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
    return not pending and fields["State"][0] in "SZ"


def test_the_first_failure_is_named_with_its_last_lines_and_the_others_are_stopped(lab: Lab) -> None:
    lab.write("program.py", ONE_FAILS)
    result = lab.run("run", "--name", "r", "--nodes", "4", "--", "python", "program.py")
    assert result.returncode == 1
    last = result.stderr.rpartition("rank 2 on node-2 failed first: exit code 7\n")[2].splitlines()
    assert "last 20 lines" in last[0] and "70_driver_log_2.txt" in last[0]
    assert [line.strip() for line in last[1:21]] == [*(f"line {n}" for n in range(11, 30)), "the reason"]
    rows = json.loads((lab.run_folder("r") / "azureml-logs" / "process_status.json").read_text())["processes"]
    assert [row["status"] for row in rows] == ["Stopped", "Stopped", "Failed", "Stopped"]
    assert [row["firstFailure"] for row in rows] == [False, False, True, False]
    assert rows[2]["exitCode"] == 7 and rows[0]["signal"] == "SIGTERM"


def test_the_others_are_stopped_on_all_nodes_within_a_second(lab: Lab) -> None:
    lab.write("program.py", ONE_FAILS)
    took = []
    # The quickest of a few, for a busy machine may need a second for anything.
    for name in "abcde":
        flags = ("--name", name, "--nodes", "4", "--grace", ENDLESS)
        assert lab.run("run", *flags, "--", "python", "program.py").returncode == 1
        ends = {event["rank"]: event["at"] for event in lab.events(name, "process_exited")}
        took.append(max(ends.values()) - ends[2])
        if took[-1] < 1.0:
            break
        for rank in range(4):
            (lab.folder / f"up-{rank}").unlink()
    assert min(took) < 1.0


def test_a_process_that_is_killed_is_reported_by_the_signals_name(lab: Lab) -> None:
    process = start(lab, POLITE)
    os.kill(lab.show("r")["processes"][1]["pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 1
    assert "rank 1 on node-1 failed first: killed by SIGKILL" in err


def test_ctrl_c_once_lets_processes_save_and_end(lab: Lab) -> None:
    process = start(lab, POLITE)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GUARD)
    assert process.returncode == 130
    for node in (0, 1):
        assert "saved" in lab.log("r", f"node-{node}/70_driver_log_{node}.txt")
    shown = lab.show("r")
    assert (shown["status"], shown["error"]["message"]) == ("Canceled", "cancelled by Ctrl-C")
    assert {row["status"] for row in shown["processes"]} == {"Canceled"}


def test_ctrl_c_once_kills_what_ignores_it_when_the_grace_is_over(lab: Lab) -> None:
    process = start(lab, STUBBORN, "--grace", "1")
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    lab.wait_until(lambda: process.poll() is not None)
    assert time.monotonic() - started >= 1.0
    assert lab.processes() == []
    assert "SIGKILL" in process.communicate()[1]


def test_ctrl_c_twice_kills_at_once(lab: Lab) -> None:
    process = start(lab, STUBBORN)
    process.send_signal(signal.SIGINT)
    lab.wait_until(lambda: lab.events("r", "stopping"))
    process.send_signal(signal.SIGINT)
    lab.wait_until(lambda: process.poll() is not None)  # and not for the grace of an hour
    assert process.returncode == 130
    assert {row["signal"] for row in lab.status("r")} == {"SIGKILL"}
    assert lab.processes() == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_that_end_programs_stop_the_run_as_well(lab: Lab, number: signal.Signals, status: int) -> None:
    process = start(lab, POLITE)
    process.send_signal(number)
    process.communicate(timeout=GUARD)
    assert process.returncode == status
    assert lab.show("r")["error"]["message"] == f"cancelled by {number.name}"
    assert "saved" in lab.log("r", "node-0/70_driver_log_0.txt")


def test_killing_the_viewer_of_an_attached_run_ends_the_run(lab: Lab) -> None:
    process = start(lab, STUBBORN)
    process.kill()
    lab.wait_until(lambda: not lab.processes())
    shown = lab.show("r")
    assert (shown["status"], shown["error"]["message"]) == ("Canceled", "the terminal it was attached to is gone")


def test_killing_the_coordinator_ends_the_run_and_readers_say_what_happened(lab: Lab) -> None:
    process = start(lab, STUBBORN)
    os.kill(lab.show("r")["coordinator"]["pid"], signal.SIGKILL)
    lab.wait_until(lambda: not lab.processes())
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 3
    assert "coordinator lost" in err
    shown = lab.show("r")
    assert shown["status"] == "Failed" and shown["error"]["message"].startswith("coordinator lost")
    assert lab.run("wait", "r").returncode == 3
    assert json.loads(lab.run("list", "-o", "json").stdout)[0]["status"] == "Failed"


def test_what_a_job_wrote_is_saved_even_when_the_coordinator_is_killed(lab: Lab) -> None:
    lab.write(
        "src/program.py", "import os; os.makedirs('outputs'); open('outputs/model', 'w').write('weights')\n" + POLITE
    )
    process = lab.start("run", "--name", "r", "--code", "src", "--", "python", "program.py")
    lab.wait_until_running("r", 1)
    log = lab.run_folder("r") / "azureml-logs" / "70_driver_log.txt"
    lab.wait_until(lambda: "up" in log.read_text())
    os.kill(lab.show("r")["coordinator"]["pid"], signal.SIGKILL)
    process.communicate(timeout=GUARD)
    lab.wait_until(lambda: not lab.processes())
    assert (lab.run_folder("r") / "outputs" / "model").read_text() == "weights"


@pytest.mark.parametrize("victims", [("agentPid",), ("keeperPid",), ("agentPid", "keeperPid")])
def test_killing_an_agent_or_its_keeper_ends_the_run_and_names_the_node(lab: Lab, victims: tuple[str, ...]) -> None:
    process = start(lab, STUBBORN, "--grace", "1")
    lab.kill_node("r", 1, *victims)
    lab.wait_until(lambda: not lab.processes())
    process.communicate(timeout=GUARD)
    assert process.returncode == 3
    shown = lab.show("r")
    assert shown["status"] == "Failed" and "node-1" in shown["error"]["message"]
    assert [row["status"] for row in shown["processes"]] == ["Stopped", "Lost"]


def test_an_agent_that_is_asked_to_end_ends_the_run_properly(lab: Lab) -> None:
    process = start(lab, POLITE)
    os.kill(lab.show("r")["nodes"][0]["agentPid"], signal.SIGTERM)
    process.communicate(timeout=GUARD)
    assert process.returncode == 3
    assert "saved" in lab.log("r", "node-0/70_driver_log_0.txt")


def test_a_coordinator_that_is_asked_to_end_stops_its_run_first(lab: Lab) -> None:
    process = start(lab, POLITE)
    os.kill(lab.show("r")["coordinator"]["pid"], signal.SIGTERM)
    process.communicate(timeout=GUARD)
    assert process.returncode == 4
    assert "SIGTERM" in lab.show("r")["error"]["message"]


def test_a_stopped_process_can_be_cancelled(lab: Lab) -> None:
    process = start(lab, POLITE)
    os.kill(lab.show("r")["processes"][0]["pid"], signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GUARD)
    assert "saved" in lab.log("r", "node-0/70_driver_log_0.txt")


def test_many_processes_that_end_at_once_are_all_accounted_for(lab: Lab) -> None:
    result = lab.run("run", "--name", "r", "--nodes", "40", "--quiet", "--", "true")
    assert result.returncode == 0, result.stderr
    rows = lab.show("r")["processes"]
    assert [row["status"] for row in rows] == ["Completed"] * 40


WITHOUT_A_TRACE = """\
import os, subprocess, time
subprocess.Popen(["env", "-i", "setsid", "-f", "sleep", "7777"])
print("up", flush=True)
time.sleep(3600)
"""
"""Leaves a grandchild that carries nothing of the run in its environment."""


def sleepers() -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes() == b"sleep\0007777\0":
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("victims", [("agentPid",), ("keeperPid",), ("agentPid", "keeperPid")])
def test_a_grandchild_that_hides_from_the_run_dies_with_its_node_as_well(lab: Lab, victims: tuple[str, ...]) -> None:
    before = set(sleepers())
    process = start(lab, WITHOUT_A_TRACE)
    lab.wait_until(lambda: len(set(sleepers()) - before) == 2)
    lab.kill_node("r", 1, *victims)
    process.communicate(timeout=GUARD)
    lab.wait_until(lambda: not set(sleepers()) - before)


def test_a_hang_up_while_processes_take_their_time_to_end_ends_them_soon(lab: Lab) -> None:
    process = start(lab, STUBBORN)
    process.send_signal(signal.SIGINT)
    lab.wait_until(lambda: lab.events("r", "stopping"))
    process.kill()
    lab.wait_until(lambda: not lab.processes())


def test_a_coordinator_that_does_not_answer_is_killed_by_the_third_ctrl_c(lab: Lab) -> None:
    process = start(lab, STUBBORN)
    os.kill(lab.show("r")["coordinator"]["pid"], signal.SIGSTOP)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        lab.wait_until(lambda: has_dealt_with_signals(process.pid))  # Those of one kind that come together are one.
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 130
    assert "does not answer" in err
    lab.wait_until(lambda: not lab.processes())


def test_a_run_under_nohup_survives_the_hang_up(lab: Lab) -> None:
    wait = ("sh", "-c", "until [ -e go ]; do sleep 0.05; done")
    command = [sys.executable, "-m", "regiment", "run", "--name", "r", "--", *wait]
    process = subprocess.Popen(["nohup", *command], cwd=lab.folder, env=lab.environ, stderr=subprocess.DEVNULL)
    lab.wait_until_running("r", 1)
    process.send_signal(signal.SIGHUP)
    lab.wait_until(lambda: has_dealt_with_signals(process.pid))
    lab.write("go", "")
    assert process.wait(GUARD) == 0


def test_a_full_disk_under_the_workspace_ends_no_run(lab: Lab) -> None:
    """In a mount namespace of its own, so that the small file system goes with the last process."""
    script = (
        "mkdir ws && mount -t tmpfs -o size=4m none ws && "
        f"{sys.executable} -m regiment run --name r --nodes 2 --workspace ws -- "
        "sh -c 'touch up-$RANK; until [ -e full ]; do sleep 0.05; done; echo done > done-$RANK' & "
        "until [ -e up-0 ] && [ -e up-1 ]; do sleep 0.05; done; "
        "dd if=/dev/zero of=ws/filler bs=4k 2>/dev/null; touch full; wait $!"
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
    assert process.returncode == 0, process.stderr
    assert "record cannot be written" in process.stderr and "Completed" in process.stderr
    assert (lab.folder / "done-0").exists() and (lab.folder / "done-1").exists()


def test_after_the_coordinators_death_nothing_is_shown_as_running(lab: Lab) -> None:
    process = start(lab, STUBBORN)
    os.kill(lab.show("r")["coordinator"]["pid"], signal.SIGKILL)
    process.communicate(timeout=GUARD)
    shown = lab.show("r")
    assert {row["status"] for row in shown["processes"]} == {"Lost"}
    assert {node["state"] for node in shown["nodes"]} == {"lost"}


def test_a_request_that_is_no_request_is_put_aside(lab: Lab) -> None:
    process = start(lab, POLITE)
    requests = lab.run_folder("r") / "requests"
    (requests / "0.json").write_text("{ half")
    assert lab.run("cancel", "r").returncode == 0
    process.communicate(timeout=GUARD)
    assert process.returncode == 4
    assert "cannot be read" in lab.show("r")["warnings"][0]["message"]


def test_a_working_folder_that_vanished_is_named(lab: Lab) -> None:
    (lab.folder / "gone").mkdir()
    script = f"cd gone && rmdir ../gone && exec {sys.executable} -m regiment run --name r -- true"
    process = subprocess.run(
        ["sh", "-c", script], cwd=lab.folder, env=lab.environ, capture_output=True, text=True, check=False
    )
    assert process.returncode == 2
    assert process.stderr == "regiment: the current folder is gone; change to one that is there\n"
