"""Signals that give notice, ranks that are stopped by somebody, ranks that end early: with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from tests.launcher.conftest import ENDLESS, Lab

SAVES = """\
import json, os, signal, subprocess, sys, time
def save(number, frame):
    with open("got-" + os.environ["RANK"], "a") as file: file.write(signal.Signals(number).name + "\\n")
    global noticed; noticed = json.load(open(os.environ["REGIMENT_PREEMPTION_FILE"]))
noticed = None
assert not os.path.exists(os.environ["REGIMENT_PREEMPTION_FILE"])
signal.signal(signal.SIGUSR1, save); signal.signal(signal.SIGUSR2, save)
loader = subprocess.Popen(["sleep", "3600"])
print("up", flush=True)
while noticed is None: time.sleep(0.01)
time.sleep(0.3)
print("the loader", "lives" if loader.poll() is None else "died", noticed["signal"], noticed["remainingSeconds"])
loader.kill()
sys.exit(int(os.environ.get("CODE", "0")))
"""
"""Saves when it gets notice and ends by itself; a helper of its would die of the same signal."""
FLAGS = ("--name", "r", "--grace", ENDLESS)


def start(lab: Lab, *command: str, flags: tuple[str, ...] = ("--nodes", "2")) -> subprocess.Popen[str]:
    lab.write("program.py", SAVES)
    process = lab.start("run", *FLAGS, *flags, *(command or ("--", "python", "program.py")))
    logs = lab.run_folder("r") / "azureml-logs"
    lab.wait_until(lambda: [log.read_text() for log in logs.rglob("70_driver_log_*.txt")].count("up\n") == 2)
    wait_until_watched(process)
    return process


def wait_until_watched(process: subprocess.Popen[str]) -> None:
    """Wait until `regiment run` shows what the job prints: before, a signal may find it not ready yet, and end it."""
    assert process.stdout is not None
    assert "up" in process.stdout.readline()


def pid_of(lab: Lab, who: str, process: subprocess.Popen[str]) -> int:
    if who == "viewer":
        return process.pid
    shown = lab.show("r")
    pids = {"coordinator": shown["coordinator"]["pid"], "agent": shown["nodes"][1]["agentPid"]}
    pid: int = {**pids, "keeper": shown["nodes"][1]["keeperPid"]}[who]
    return pid


@pytest.mark.parametrize("who", ["viewer", "coordinator", "agent", "keeper"])
def test_a_notice_reaches_every_process_once_and_none_of_their_helpers(lab: Lab, who: str) -> None:
    process = start(lab)
    os.kill(pid_of(lab, who, process), signal.SIGUSR1)
    out, err = process.communicate()
    assert process.returncode == 5, err
    for rank in (0, 1):
        assert (lab.folder / f"got-{rank}").read_text() == "SIGUSR1\n"
        assert f"[node-{rank} rank {rank}] the loader lives SIGUSR1 None\n" in out
    shown = lab.show("r")
    assert (shown["status"], shown["exitStatus"]) == ("Canceled", 5)
    assert shown["preempting"] is not None and "got SIGUSR1" in shown["preempting"]
    assert shown["error"]["message"] == f"preempted: {shown['preempting']}"
    assert len(lab.events("r", "preempting")) == 1
    assert "regiment: warning: preemption notice:" in err


def test_the_same_notice_to_everybody_is_passed_on_once(lab: Lab) -> None:
    process = start(lab)
    pids = [pid_of(lab, who, process) for who in ("viewer", "coordinator", "agent", "keeper")]
    for pid in pids:
        os.kill(pid, signal.SIGUSR2)
    process.communicate()
    assert process.returncode == 5
    assert [(lab.folder / f"got-{rank}").read_text() for rank in (0, 1)] == ["SIGUSR2\n", "SIGUSR2\n"]


def test_a_process_that_fails_after_a_notice_is_preempted_and_not_failed(lab: Lab) -> None:
    process = start(lab, "--env", "CODE=3", "--max-restarts", "5", "--", "python", "program.py")
    process.send_signal(signal.SIGUSR1)
    process.communicate()
    assert process.returncode == 5
    assert (lab.show("r")["status"], lab.show("r")["attempt"]) == ("Canceled", 0)


def test_what_a_shell_runs_gets_the_notice_and_the_shell_does_not_die_of_it(lab: Lab) -> None:
    process = start(lab, "--", "bash", "-c", "python program.py; echo and after it")
    process.send_signal(signal.SIGUSR1)
    out, _ = process.communicate()
    assert process.returncode == 5
    assert out.count("and after it") == 2


def test_processes_that_know_nothing_of_a_notice_run_on_until_they_are_stopped(lab: Lab) -> None:
    """They would die of the signal; so they are not sent it."""
    lab.write("job.yml", f"command: echo up; sleep {ENDLESS}; true\nregiment: {{preemption_grace: 1}}\n")
    process = lab.start("run", "--name", "r", "job.yml")
    wait_until_watched(process)
    process.send_signal(signal.SIGUSR1)
    _, err = process.communicate()
    assert process.returncode == 5
    assert "and are stopped in 1 s" in err
    assert lab.events("r", "preempting")[0]["remainingSeconds"] == 1.0
    [row] = lab.status("r")
    assert (row["status"], row["signal"]) == ("Canceled", "SIGTERM")


@pytest.mark.torch
@pytest.mark.slow
def test_a_notice_reaches_ranks_under_torchrun_once(lab: Lab) -> None:
    process = start(lab, flags=("--nodes", "1", "--nproc", "2", "--type", "pytorch"))
    process.send_signal(signal.SIGUSR1)
    process.communicate()
    assert process.returncode == 5
    assert [(lab.folder / f"got-{rank}").read_text() for rank in (0, 1)] == ["SIGUSR1\n", "SIGUSR1\n"]


@pytest.mark.mpi
@pytest.mark.parametrize("who", ["viewer", "mpirun"])
def test_a_notice_reaches_ranks_under_mpirun_once_also_where_mpirun_gets_it(lab: Lab, who: str) -> None:
    process = start(lab, flags=("--nodes", "2", "--nproc", "1", "--type", "mpi"))
    if who == "viewer":
        process.send_signal(signal.SIGUSR1)
    else:
        agent = lab.show("r")["nodes"][0]["agentPid"]
        # Of the agent's two children it is the one that is no daemon's.
        [mpirun] = [pid for pid in lab.that_run(b"--host\0node-0") if lab.parent(pid) == agent]
        os.kill(mpirun, signal.SIGUSR1)
    process.communicate()
    assert process.returncode == 5
    assert [(lab.folder / f"got-{rank}").read_text() for rank in (0, 1)] == ["SIGUSR1\n", "SIGUSR1\n"]


def test_a_rank_that_somebody_stopped_is_named_and_can_be_cancelled(lab: Lab) -> None:
    process = start(lab)
    pid = lab.events("r", "process_started")[0]["pid"]
    rank = lab.events("r", "process_started")[0]["rank"]
    os.kill(pid, signal.SIGSTOP)

    def notes() -> list[str]:
        return [event["text"] for event in lab.events("r", "note")]

    took = lab.wait_until(lambda: any(f"rank {rank} is stopped" in text for text in notes()))
    os.kill(pid, signal.SIGCONT)
    lab.wait_until(lambda: any(f"rank {rank} goes on" in text for text in notes()))
    os.kill(pid, signal.SIGSTOP)
    assert took < 60.0
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert set(lab.statuses().values()) == {"Canceled"}


def test_a_rank_that_ended_well_while_others_run_is_named_and_fails_the_run_where_that_is_asked_for(lab: Lab) -> None:
    lab.write(
        "job.yml",
        f"command: '[ $RANK = 1 ] || sleep {ENDLESS}'\n"
        "resources: {instance_count: 3}\nregiment: {early_exit: {warn: 0.2, fail: 1}}\n",
    )
    result = lab.run("run", "--name", "r", "job.yml")
    assert result.returncode == 1
    assert "warning: rank 1 on node-1 finished, 2 still running" in result.stderr
    assert "rank 1 on node-1 finished, 2 still running after 1 s (early_exit: fail)" in result.stderr
    assert json.loads((lab.run_folder("r") / "report.json").read_text())["cause"]["kind"] == "user_error"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(("who", "status", "exit_status"), [("coordinator", "Canceled", 4), ("agent", "Failed", 3)])
def test_a_signal_that_asks_for_the_end_ends_the_run_whoever_gets_it(
    lab: Lab, who: str, number: signal.Signals, status: str, exit_status: int
) -> None:
    process = lab.start("run", "--name", "r", "--nodes", "2", "--", "sleep", ENDLESS)
    lab.wait_until_running("r", 2)
    os.kill(pid_of(lab, who, process), number)
    process.communicate()
    assert process.returncode == exit_status
    assert lab.show("r")["status"] == status
    assert lab.processes() == []


def test_a_notice_and_then_the_end_is_a_preemption_and_no_signal_of_a_persons(lab: Lab) -> None:
    """As a scheduler does it: SIGUSR1 first, and SIGTERM some time after that."""
    process = lab.start("run", "--name", "r", "--", "sh", "-c", f"echo up; exec sleep {ENDLESS}")
    wait_until_watched(process)
    process.send_signal(signal.SIGUSR1)
    lab.wait_until(lambda: lab.events("r", "preempting"))
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 5


def test_the_time_limit_is_said_to_be_the_reason(lab: Lab) -> None:
    result = lab.run("run", *FLAGS, "--timeout", "1", "--", "sleep", ENDLESS)
    assert result.returncode == 4
    assert "time limit of 1 s reached" in result.stderr
    assert (lab.show("r")["status"], lab.show("r")["error"]["message"]) == ("Canceled", "time limit of 1 s reached")
