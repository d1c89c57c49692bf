"""`type: tensorflow` without TensorFlow: who gets which TF_CONFIG, and when a run with helpers is complete.

Plain Python processes stand for the tasks; those that sleep for ever are what a parameter server is.
"""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from .conftest import Lab

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


def statuses(lab: Lab, run_id: str = "r") -> dict[str, str]:
    return {row["name"]: row["status"] for row in lab.status(run_id)}


def info(lab: Lab) -> list[dict[str, object]]:
    text = (lab.run_folder("r") / "azureml-logs" / "process_info.json").read_text("utf-8")
    processes: list[dict[str, object]] = json.loads(text)["processes"]
    return processes


SERVE = "if kind == 'ps': time.sleep(1000)\n"


def test_parameter_servers_that_never_end_are_stopped_when_the_workers_have_completed(lab: Lab) -> None:
    write(lab, SERVE + "time.sleep(0.2 * index)")
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    assert statuses(lab) == {"worker_0": "Completed", "worker_1": "Completed", "ps_0": "Stopped"}
    assert lab.show("r")["status"] == "Completed" and lab.show("r")["error"] is None
    assert lab.show("r")["elapsedSeconds"] < 10
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
    write(lab, f"if kind not in {ends.split()!r}: time.sleep(1000)", workers=1, options=options)
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    assert statuses(lab) == wanted


def test_with_a_chief_and_no_word_on_it_the_chief_ends_the_run(lab: Lab) -> None:
    write(lab, "if kind != 'chief': time.sleep(1000)", options="chief: true")
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert statuses(lab) == {"chief_0": "Completed", "worker_0": "Stopped", "worker_1": "Stopped", "ps_0": "Stopped"}


def test_without_a_chief_its_place_is_worker_0s(lab: Lab) -> None:
    write(lab, "if (kind, index) != ('worker', 0): time.sleep(1000)", options="stop_when: chief")
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert statuses(lab) == {"worker_0": "Completed", "worker_1": "Stopped", "ps_0": "Stopped"}


def test_a_worker_that_raises_is_the_cause_and_nothing_is_left(lab: Lab) -> None:
    write(lab, SERVE + "if index == 1: raise ValueError('bad batch')\ntime.sleep(1000)")
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 1
    assert "rank 2 on node-1 failed first: exit code 1" in result.stderr and "ValueError: bad batch" in result.stderr
    assert statuses(lab) == {"worker_0": "Stopped", "worker_1": "Failed", "ps_0": "Stopped"}
    assert lab.processes() == []


def test_a_parameter_server_that_dies_while_it_is_needed_is_the_cause(lab: Lab) -> None:
    write(lab, "time.sleep(1000)")
    process = lab.start("run", "job.yml", "--name", "r")
    lab.wait_until_running("r", 3)
    lab.wait_until(lambda: all(row["pid"] for row in lab.status("r")))
    server = next(row for row in lab.status("r") if row["name"] == "ps_0")
    os.kill(server["pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"rank {server['rank']} on node-0 failed first: killed by SIGKILL" in err
    assert statuses(lab) == {"worker_0": "Stopped", "worker_1": "Stopped", "ps_0": "Failed"}


def test_a_helper_that_ends_well_before_the_others_is_not_missed(lab: Lab) -> None:
    write(lab, "if kind == 'worker': time.sleep(1)")
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert set(statuses(lab).values()) == {"Completed"}


@pytest.mark.parametrize("end", ["os.abort()", "os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_helper_that_crashes_because_it_was_stopped_spoils_nothing(lab: Lab, end: str) -> None:
    write(lab, f"signal.signal(signal.SIGTERM, lambda *_: {end})\n{SERVE}")
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
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
    write(lab, f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SERVE}")
    start = time.monotonic()
    result = lab.run("run", "job.yml", "--name", "r", "--grace", "1")
    assert result.returncode == 0, result.stderr
    assert 1 <= time.monotonic() - start < 10
    assert statuses(lab)["ps_0"] == "Stopped"


def test_ctrl_c_cancels_helpers_and_workers_alike(lab: Lab) -> None:
    write(lab, "time.sleep(1000)")
    process = lab.start("run", "job.yml", "--name", "r")
    lab.wait_until_running("r", 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert set(statuses(lab).values()) == {"Canceled"}


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
