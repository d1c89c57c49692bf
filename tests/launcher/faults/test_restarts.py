"""Restarts in place, with real processes: the nodes stay, and nothing of an attempt is alive when the next begins."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.launcher.conftest import ENDLESS, Lab

FAILS_ONCE = """\
import os, sys, time
attempt, rank = os.environ["REGIMENT_ATTEMPT"], os.environ["RANK"]
print("attempt", attempt, "rank", rank, "port", os.environ["MASTER_PORT"], flush=True)
open(f"attempt-{attempt}-{rank}", "w").close()
if attempt == "0":
    if rank == "1":
        while not all(os.path.exists(f"attempt-0-{n}") for n in range(2)): time.sleep(0.01)
        sys.exit(7)
    time.sleep(3600)
"""
"""Two ranks that share a folder; in the first attempt rank 1 fails once both are there."""
FLAGS = ("--name", "r", "--grace", ENDLESS)
NO_PAUSE = "regiment: {restarts: {max: %d, backoff: 0}}\n"


def job(lab: Lab, command: str, restarts: str, more: str = "") -> str:
    """Write a job file of a command, and give its name."""
    lab.write("job.yml", f"command: {json.dumps(command)}\ncode: .\nregiment: {{restarts: {restarts}}}\n{more}")
    return "job.yml"


def attempt_log(lab: Lab, attempt: int, name: str) -> str:
    return (lab.run_folder("r") / "attempts" / str(attempt) / "azureml-logs" / name).read_text("utf-8")


def test_after_a_failure_all_processes_start_again_in_place_and_every_attempts_logs_are_kept(lab: Lab) -> None:
    lab.write("program.py", FAILS_ONCE)
    result = lab.run("run", *FLAGS, "--nodes", "2", "--max-restarts", "1", "--", "python", "program.py")
    assert result.returncode == 0, result.stderr
    assert "warning: attempt 0 failed (rank 1 on node-1 failed first: exit code 7); attempt 1 begins in 1 s" in (
        result.stderr
    )
    ports = set()
    for attempt in (0, 1):
        for rank in (0, 1):
            log = attempt_log(lab, attempt, f"node-{rank}/70_driver_log_{rank}.txt")
            assert log.startswith(f"attempt {attempt} rank {rank} port ")
            assert f"[node-{rank} rank {rank}] {log.splitlines()[0]}\n" in result.stdout, "viewers follow"
            ports.add(log.split()[-1])
    assert len(ports) == 2, "each attempt has a port of its own"
    folder = lab.run_folder("r")
    assert (folder / "azureml-logs").readlink() == Path("attempts/1/azureml-logs")
    assert lab.show("r")["attempt"] == 1 and lab.statuses() == {"rank_0": "Completed", "rank_1": "Completed"}
    before = json.loads((folder / "attempts/0/azureml-logs/process_status.json").read_text("utf-8"))
    assert before["status"] == "Failed"
    assert [row["status"] for row in before["processes"]] == ["Stopped", "Failed"]
    assert json.loads((folder / "attempts/0/report.json").read_text("utf-8"))["cause"]["kind"] == "user_error"
    assert [event["attempt"] for event in lab.events("r", "run_started")] == [0, 1]
    agents = {(node["nodeId"], node["host"]) for node in lab.show("r")["nodes"]}
    assert len(agents) == 2


def test_without_restarts_nothing_is_started_again(lab: Lab) -> None:
    result = lab.run("run", *FLAGS, "--", "sh", "-c", "exit 3")
    assert result.returncode == 1
    assert [event["attempt"] for event in lab.events("r", "run_started")] == [0]


def test_a_job_that_fails_at_every_start_ends_with_a_status_of_its_own(lab: Lab) -> None:
    result = lab.run("run", "--name", "r", job(lab, "echo written > once.txt; exit 3", "{max: 99, backoff: 0}"))
    assert result.returncode == 6
    assert "none of the last 3 attempts ran for 60 s or wrote anything new to ./outputs" in result.stderr
    assert [event["attempt"] for event in lab.events("r", "run_started")] == [0, 1, 2]
    assert lab.show("r")["exitStatus"] == 6


def test_attempts_that_write_new_outputs_make_progress_and_find_what_the_last_one_left(lab: Lab) -> None:
    command = (
        'mkdir -p outputs; echo x > "outputs/step-$REGIMENT_ATTEMPT"; ls outputs | wc -l; [ $REGIMENT_ATTEMPT = 4 ]'
    )
    result = lab.run("run", "--name", "r", job(lab, command, "{max: 99, backoff: 0}"))
    assert result.returncode == 0, result.stderr
    assert attempt_log(lab, 4, "70_driver_log.txt").split() == ["5"]
    assert len(list((lab.run_folder("r") / "outputs").iterdir())) == 5


def test_nothing_of_an_attempt_is_alive_when_the_next_one_begins(lab: Lab) -> None:
    """Not even what hides in a session of its own, and ignores SIGTERM."""
    program = f"""\
import os, subprocess, sys, time
if os.environ["REGIMENT_ATTEMPT"] == "0":
    child = subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM; while :; do sleep 77; done"])
    open({str(lab.folder / "pid")!r}, "w").write(str(child.pid))
    sys.exit(7)
pid = open({str(lab.folder / "pid")!r}).read()
print(os.path.exists("/proc/" + pid))
"""
    lab.write("program.py", program)
    result = lab.run("run", "--name", "r", job(lab, "python program.py", "{max: 1, backoff: 0}"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["False"]


@pytest.mark.parametrize("victims", [("agentPid",), ("keeperPid",), ("agentPid", "keeperPid")])
def test_a_node_that_was_lost_is_started_again_and_the_run_with_it(lab: Lab, victims: tuple[str, ...]) -> None:
    lab.write("program.py", "import os, time\nif os.environ['REGIMENT_ATTEMPT'] == '0': time.sleep(3600)\n")
    flags = (*FLAGS, "--nodes", "2", "--max-restarts", "1")
    process = lab.start("run", *flags, "--", "python", "program.py")
    lab.wait_until_running("r", 2)
    lab.kill_node("r", 1, *victims)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert lab.statuses() == {"rank_0": "Completed", "rank_1": "Completed"}
    [ended] = lab.events("r", "attempt_ended")
    assert ended["kind"] == "infrastructure" and ended["error"]["message"].startswith("node-1 ")


@pytest.mark.parametrize(
    ("who", "number"), [("agent", signal.SIGKILL), ("agent", signal.SIGABRT), ("rank", signal.SIGKILL)]
)
def test_what_is_no_fault_of_the_program_has_a_budget_of_its_own(lab: Lab, who: str, number: signal.Signals) -> None:
    """A node whose agent is killed or crashes, a rank that somebody else kills."""
    restarts = "{max: 0, infrastructure: 1, backoff: 0}"
    process = lab.start("run", "--name", "r", job(lab, "[ $REGIMENT_ATTEMPT = 0 ] && sleep 3600; exit 5", restarts))
    lab.wait_until_running("r", 1)
    lab.wait_until(lambda: lab.status("r")[0]["pid"])
    pid = lab.show("r")["nodes"][0]["agentPid"] if who == "agent" else lab.status("r")[0]["pid"]
    os.kill(pid, number)
    process.communicate()
    assert process.returncode == 1
    assert lab.events("r", "attempt_ended")[0]["kind"] == "infrastructure"
    assert lab.show("r")["error"]["exitCode"] == 5 and lab.show("r")["attempt"] == 1


def test_a_run_that_is_cancelled_between_two_attempts_stays_cancelled(lab: Lab) -> None:
    """And cancelling twice is as once, and cancelling what has ended does nothing."""
    process = lab.start(
        "run", "--name", "r", job(lab, "exit 3", f"{{max: 5, backoff: {ENDLESS}, max_backoff: {ENDLESS}}}")
    )
    events = lab.run_folder("r") / "events.jsonl"
    lab.wait_until(lambda: events.exists() and lab.events("r", "attempt_ended"))
    both = [lab.start("cancel", "r") for _ in range(2)]
    assert both[0].wait() == 0
    _, err = process.communicate()
    assert process.returncode == 4, err
    assert (lab.show("r")["status"], lab.show("r")["attempt"]) == ("Canceled", 0)
    lab.run("cancel", "r")
    assert (lab.show("r")["status"], lab.show("r")["exitStatus"]) == ("Canceled", 4)


def test_a_run_that_is_cancelled_while_an_attempt_is_being_stopped_has_no_other(lab: Lab) -> None:
    lab.write(
        "program.py",
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *a: (open('told', 'w').close(), time.sleep(3600)))\n"
        "open('came-' + os.environ['RANK'], 'w').close()\n"
        "while not all(os.path.exists(f'came-{n}') for n in '01'): time.sleep(0.01)\n"
        "sys.exit(7) if os.environ['RANK'] == '1' else time.sleep(3600)\n",
    )
    process = lab.start("run", *FLAGS, "--nodes", "2", "--max-restarts", "5", "--", "python", "program.py")
    lab.wait_until(lambda: (lab.folder / "told").exists())
    lab.run("cancel", "r")
    lab.run("cancel", "r", "--force")
    process.communicate()
    assert (lab.show("r")["status"], lab.show("r")["attempt"]) == ("Canceled", 0)


def test_a_wrong_restarts_key_is_named_with_its_line(lab: Lab) -> None:
    lab.write("job.yml", "command: x\nregiment:\n  restarts: {max: -1, sometimes: 3}\n")
    result = lab.run("validate", "job.yml")
    assert result.returncode == 2
    assert "regiment.restarts.max: expected 0 to 1,000,000 restarts, found -1" in result.stderr
    assert "regiment.restarts.sometimes: unknown key" in result.stderr


def test_a_session_with_a_rank_has_one_attempt(lab: Lab) -> None:
    result = lab.run("run", "--interactive", "0", "--max-restarts", "1", "--", "true")
    assert result.returncode == 2
    assert "--interactive: a session has one attempt; leave restarts out, --max-restarts 0" in result.stderr


DDP = """\
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
rank, attempt = dist.get_rank(), os.environ["REGIMENT_ATTEMPT"]
total = torch.tensor([rank + 1.0])
dist.all_reduce(total)
if attempt == "0" and rank == 2:
    os._exit(9)
dist.all_reduce(total)
print("sum", total.item(), "of", dist.get_world_size(), "in attempt", attempt)
dist.destroy_process_group()
"""


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("method", ["torchrun", "spawn"])
def test_ranks_of_torch_meet_and_reduce_again_after_one_of_them_died(lab: Lab, method: str) -> None:
    lab.write("train.py", DDP)
    flags = ("--nodes", "2", "--nproc", "2", "--type", "pytorch", "--start-method", method, "--max-restarts", "1")
    result = lab.run("run", "--name", "r", *flags, "--", "python", "train.py")
    assert result.returncode == 0, result.stderr
    [ended] = lab.events("r", "attempt_ended")
    assert ended["error"]["message"] == "rank 2 on node-1 failed first: exit code 9"
    for rank in range(4):
        log = lab.log("r", f"node-{rank // 2}/70_driver_log_{rank}.txt")
        assert "sum 40.0 of 4 in attempt 1\n" in log


@pytest.mark.mpi
@pytest.mark.slow
def test_ranks_of_mpi_start_again(lab: Lab) -> None:
    lab.write(
        "program.py",
        "import os\nfrom mpi4py import MPI\n"
        "total = MPI.COMM_WORLD.allreduce(MPI.COMM_WORLD.rank + 1)\n"
        "if os.environ['REGIMENT_ATTEMPT'] == '0' and MPI.COMM_WORLD.rank == 1: raise ValueError('once')\n"
        "print('sum', MPI.COMM_WORLD.allreduce(total))\n",
    )
    flags = ("--nodes", "2", "--nproc", "1", "--type", "mpi", "--max-restarts", "1")
    result = lab.run("run", "--name", "r", *flags, "--", "python", "program.py")
    assert result.returncode == 0, result.stderr
    assert [lab.log("r", f"node-{n}/70_driver_log_{n}.txt") for n in (0, 1)] == ["sum 6\n", "sum 6\n"]
    assert attempt_log(lab, 0, "70_mpi_log.txt") is not None


def test_tensorflow_tasks_have_new_ports_in_each_attempt(lab: Lab) -> None:
    lab.write(
        "program.py",
        "import os, sys\nprint(os.environ['TF_CONFIG'])\nsys.exit(os.environ['REGIMENT_ATTEMPT'] == '0')\n",
    )
    flags = ("--type", "tensorflow", "--workers", "2", "--max-restarts", "1")
    result = lab.run("run", "--name", "r", *flags, "--", "python", "program.py")
    assert result.returncode == 0, result.stderr
    clusters = [json.loads(attempt_log(lab, attempt, "70_driver_log_0.txt"))["cluster"] for attempt in (0, 1)]
    assert not set(clusters[0]["worker"]) & set(clusters[1]["worker"])
