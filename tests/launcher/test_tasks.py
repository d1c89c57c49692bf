"""`type: tensorflow` without TensorFlow: who gets which TF_CONFIG, and when a run with helpers is complete.

Plain Python processes stand for the tasks; those that sleep for ever are what a parameter server is.
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from .conftest import ENDLESS, GUARD, Lab

PROGRAM = """\
import json, os, signal, socket, sys, time
config = json.loads(os.environ["TF_CONFIG"])
kind, index = config["task"]["type"], config["task"]["index"]
own = config["cluster"].get(kind)
if own:  # As TensorFlow's servers: bind, listen, and be there for the others.
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", int(own[index].rpartition(":")[2])))
    server.listen()
print("I am", kind, index, flush=True)
"""
JOB = """\
command: python train.py
code: src
resources: {{instance_count: 2}}
distribution: {{type: tensorflow, worker_count: {workers}, parameter_server_count: {servers}}}
regiment: {{{options}}}
"""


def write(lab: Lab, then: str, workers: int = 2, servers: int = 1, options: str = "") -> None:
    lab.write("job.yml", JOB.format(workers=workers, servers=servers, options=options))
    lab.write("src/train.py", PROGRAM + then)


def info(lab: Lab) -> list[dict[str, object]]:
    text = (lab.run_folder("r") / "azureml-logs" / "process_info.json").read_text("utf-8")
    processes: list[dict[str, object]] = json.loads(text)["processes"]
    return processes


STAY = f"time.sleep({ENDLESS})\n"
SERVE = f"if kind == 'ps': {STAY}"


def wait_for(lab: Lab, name: str) -> str:
    """Give lines with which a task waits until a file is there."""
    return f"while not os.path.exists({str(lab.folder / name)!r}): time.sleep(0.01)\n"


def serve_ready(lab: Lab) -> str:
    """Give lines with which servers stay for ever, and workers end when server 0 has come this far."""
    return f"if kind == 'ps':\n    open({str(lab.folder / 'ready')!r}, 'w').close()\n    {STAY}{wait_for(lab, 'ready')}"


def process_of(lab: Lab, name: str) -> dict[str, Any]:
    return next(row for row in lab.status("r") if row["name"] == name)


def test_parameter_servers_that_never_end_are_stopped_when_the_workers_have_completed(lab: Lab) -> None:
    write(lab, SERVE + "time.sleep(0.2 * index)")
    result = lab.run("run", "job.yml", "--name", "r", "--grace", ENDLESS)
    assert result.returncode == 0, result.stderr
    assert lab.statuses() == {"worker_0": "Completed", "worker_1": "Completed", "ps_0": "Stopped"}
    assert lab.show("r")["status"] == "Completed" and lab.show("r")["error"] is None
    reasons = [event["reason"] for event in lab.events("r", "stopping")]
    assert reasons == ["all that the run waits for have completed"]
    assert lab.processes() == []


def test_each_task_is_named_by_its_kind_and_ranks_count_all_of_them(lab: Lab) -> None:
    write(lab, SERVE, options="chief: true, evaluator: true, stop_when: workers")
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    rows = [(p["name"], p["rank"], p["nodeRank"], p["localRank"], p["taskType"]) for p in info(lab)]
    assert rows == [
        ("chief_0", 0, 0, 0, "chief"),
        ("worker_0", 1, 0, 1, "worker"),
        ("ps_0", 2, 0, 2, "ps"),
        ("worker_1", 3, 1, 0, "worker"),
        ("evaluator_0", 4, 1, 1, "evaluator"),
    ]
    for name, rank, node, _, kind in rows:
        said = f"I am {kind} {str(name).rpartition('_')[2]}\n"
        assert lab.log("r", f"node-{node}/70_driver_log_{rank}.txt") == said


@pytest.mark.parametrize(
    ("stop_when", "ends", "wanted"),
    [
        ("chief", "chief", {"chief_0": "Completed", "worker_0": "Stopped", "ps_0": "Stopped"}),
        ("workers", "chief worker", {"chief_0": "Completed", "worker_0": "Completed", "ps_0": "Stopped"}),
        ("all", "chief worker ps", {"chief_0": "Completed", "worker_0": "Completed", "ps_0": "Completed"}),
    ],
)
def test_the_run_is_complete_when_the_tasks_it_was_told_to_wait_for_are(
    lab: Lab, stop_when: str, ends: str, wanted: dict[str, str]
) -> None:
    options = f"chief: true, stop_when: {stop_when}"
    write(lab, f"if kind not in {ends.split()!r}: {STAY}", workers=1, options=options)
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    assert lab.statuses() == wanted


def test_with_a_chief_and_no_word_on_it_the_chief_ends_the_run(lab: Lab) -> None:
    write(lab, f"if kind != 'chief': {STAY}", options="chief: true")
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert lab.statuses() == {"chief_0": "Completed", "worker_0": "Stopped", "worker_1": "Stopped", "ps_0": "Stopped"}


def test_without_a_chief_its_place_is_worker_0s(lab: Lab) -> None:
    write(lab, f"if (kind, index) != ('worker', 0): {STAY}", options="stop_when: chief")
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert lab.statuses() == {"worker_0": "Completed", "worker_1": "Stopped", "ps_0": "Stopped"}


def test_a_worker_that_raises_is_the_cause_and_nothing_is_left(lab: Lab) -> None:
    write(lab, f"{SERVE}if index == 1: raise ValueError('bad batch')\n{STAY}")
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 1
    assert "rank 2 on node-1 failed first: exit code 1" in result.stderr and "ValueError: bad batch" in result.stderr
    assert lab.statuses() == {"worker_0": "Stopped", "worker_1": "Failed", "ps_0": "Stopped"}
    assert lab.processes() == []


def test_a_parameter_server_that_dies_while_it_is_needed_is_the_cause(lab: Lab) -> None:
    write(lab, STAY)
    process = lab.start("run", "job.yml", "--name", "r")
    lab.wait_until_running("r", 3)
    lab.wait_until(lambda: all(row["pid"] for row in lab.status("r")))
    server = process_of(lab, "ps_0")
    os.kill(server["pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 1
    assert f"rank {server['rank']} on node-0 failed first: killed by SIGKILL" in err
    assert lab.statuses() == {"worker_0": "Stopped", "worker_1": "Stopped", "ps_0": "Failed"}


def test_a_helper_that_ends_well_before_the_others_is_not_missed(lab: Lab) -> None:
    write(lab, f"if kind == 'worker':\n    {wait_for(lab, 'enough')}")
    process = lab.start("run", "job.yml", "--name", "r")
    lab.wait_until_running("r", 3)
    lab.wait_until(lambda: lab.statuses()["ps_0"] == "Completed")
    assert lab.show("r")["status"] == "Running"
    lab.write("enough", "")
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, err
    assert set(lab.statuses().values()) == {"Completed"}


@pytest.mark.parametrize(
    ("end", "exit_code", "name", "status"),
    [
        ("os.abort()", None, "SIGABRT", "Failed"),  # Nobody is stopped in this way; it is on record, and no more.
        ("os._exit(3)", 3, None, "Stopped"),
        ("os.kill(os.getpid(), signal.SIGKILL)", None, "SIGKILL", "Stopped"),
    ],
)
def test_a_helper_that_crashes_because_it_was_stopped_spoils_nothing(
    lab: Lab, end: str, exit_code: int | None, name: str | None, status: str
) -> None:
    write(lab, f"signal.signal(signal.SIGTERM, lambda *_: {end})\n{serve_ready(lab)}")
    # No grace ends: what kills the server is what it does itself when it is asked to end.
    result = lab.run("run", "job.yml", "--name", "r", "--grace", ENDLESS)
    assert result.returncode == 0, result.stderr
    server = process_of(lab, "ps_0")
    assert (server["exitCode"], server["signal"]) == (exit_code, name)
    assert lab.statuses() == {"worker_0": "Completed", "worker_1": "Completed", "ps_0": status}
    assert lab.show("r")["status"] == "Completed"


def test_a_helper_that_crashes_because_the_workers_have_gone_spoils_nothing(lab: Lab) -> None:
    """It sees the end of a connection, and that may be before the stop reaches it."""
    lab.write("job.yml", JOB.format(workers=1, servers=1, options=""))
    lab.write(
        "src/train.py",
        PROGRAM
        + "if kind == 'ps':\n"
        + "    connection, _ = server.accept()\n"
        + "    connection.recv(1)\n"
        + "    os._exit(9)\n"
        + "host, _, port = config['cluster']['ps'][0].rpartition(':')\n"
        + "while True:\n"
        + "    try:\n"
        + "        held = socket.create_connection((host, int(port)))\n"
        + "        break\n"
        + "    except OSError:\n"
        + "        time.sleep(0.01)\n",
    )
    for number in range(5):
        result = lab.run("run", "job.yml", "--name", f"r{number}")
        assert result.returncode == 0, result.stderr
        assert lab.show(f"r{number}")["status"] == "Completed"


def test_a_helper_that_ignores_sigterm_is_killed_after_the_grace_and_the_run_is_complete(lab: Lab) -> None:
    write(lab, f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{serve_ready(lab)}")
    result = lab.run("run", "job.yml", "--name", "r", "--grace", "1")
    assert result.returncode == 0, result.stderr
    server = process_of(lab, "ps_0")
    assert (server["status"], server["signal"]) == ("Stopped", "SIGKILL")
    (stop,) = lab.events("r", "stopping")
    (end,) = [event["at"] for event in lab.events("r", "process_exited") if event["rank"] == server["rank"]]
    assert end - stop["at"] >= 1


def test_ctrl_c_cancels_helpers_and_workers_alike(lab: Lab) -> None:
    write(lab, STAY)
    process = lab.start("run", "job.yml", "--name", "r")
    lab.wait_until_running("r", 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GUARD)
    assert process.returncode == 130
    # A signal that comes before the viewer is ready for it ends that at once, and the run soon after.
    lab.wait_until(lambda: set(lab.statuses().values()) == {"Canceled"})


def test_tasks_find_each_other_at_the_addresses_they_are_told(lab: Lab) -> None:
    greet = (
        "for kind_, addresses in config['cluster'].items():\n"
        "    for address in addresses:\n"
        "        host, _, port = address.rpartition(':')\n"
        "        while True:\n"
        "            try:\n"
        "                socket.create_connection((host, int(port))).close()\n"
        "                break\n"
        "            except OSError:\n"
        "                time.sleep(0.01)\n"
        "print('met all', flush=True)\n"
        "done = f\"{os.environ['MEETING']}/{kind}-{index}\"\n"
        "open(done, 'w').close()\n"
        "while len(os.listdir(os.environ['MEETING'])) < 5: time.sleep(0.01)\n"
    )
    (lab.folder / "meeting").mkdir()
    write(lab, greet, servers=1, options="chief: true, evaluator: true, stop_when: all")
    result = lab.run("run", "job.yml", "--name", "r", "--env", f"MEETING={lab.folder}/meeting")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("met all") == 5
