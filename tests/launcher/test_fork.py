"""`start_method: fork`: ranks come from one process that has imported what they need, and end as any others."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from .conftest import ENDLESS, GUARD, Lab

FORK = ("--type", "pytorch", "--start-method", "fork", "--preload", "preloaded")
TWO_BY_TWO = ("run", "--name", "r", "--nodes", "2", "--nproc", "2", *FORK)
PROGRAM = """\
import os, sys, time
print("rank", os.environ["RANK"], "of", os.environ["WORLD_SIZE"], sys.argv[1:], flush=True)
"""
WAITING = PROGRAM + "while not os.path.exists('go'): time.sleep(0.01)\n"


def prepare(lab: Lab, program: str, module: str = "print('imported')") -> None:
    lab.write("train.py", program)
    lab.write("preloaded.py", module)


def node_log(lab: Lab, node: int) -> str:
    return lab.log("r", f"node-{node}/55_azureml-execution-node-{node}.txt")


def notes(lab: Lab) -> list[str]:
    return [event["text"] for event in lab.events("r", "note")]


def importers(lab: Lab) -> list[int]:
    """The processes that import and fork: children of agents, and leaders of sessions, that are no rank."""
    ranks = {row["pid"] for row in lab.status("r")}
    agents = {node["agentPid"] for node in lab.show("r")["nodes"]}
    return [pid for pid in lab.that_run(b"train.py") if pid not in ranks and lab.parent(pid) in agents]


def test_each_node_imports_once_and_all_its_ranks_run(lab: Lab) -> None:
    prepare(lab, PROGRAM)
    lab.write(
        "job.yml",
        "command: python train.py --rank $RANK\ncode: .\nresources: {instance_count: 2}\n"
        "distribution: {type: pytorch, process_count_per_instance: 2}\n"
        "regiment: {start_method: fork, preload: [preloaded]}\n",
    )
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    for rank in range(4):
        log = lab.log("r", f"node-{rank // 2}/70_driver_log_{rank}.txt")
        assert log == f"rank {rank} of 4 ['--rank', '{rank}']\n"
    for node in range(2):
        log = node_log(lab, node)
        assert log.count("importing preloaded for: python train.py") == 1
        assert log.count("\nimported\n") == 1 and log.count(" forking rank ") == 2
    assert notes(lab) == []


def test_a_rank_that_fails_is_named_and_the_others_are_stopped(lab: Lab) -> None:
    prepare(lab, WAITING + "sys.exit(7) if os.environ['RANK'] == '2' else time.sleep(3600)")
    process = lab.start(*TWO_BY_TWO, "--grace", ENDLESS, "--", "python", "train.py")
    lab.wait_until_running("r", 4)
    lab.write("go", "")
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 1
    assert "rank 2 on node-1 failed first: exit code 7" in err
    assert [row["status"] for row in lab.status("r")] == ["Stopped", "Stopped", "Failed", "Stopped"]
    assert [row["signal"] for row in lab.status("r")] == ["SIGTERM", "SIGTERM", None, "SIGTERM"]


def test_a_rank_that_is_killed_is_reported_by_the_signals_name(lab: Lab) -> None:
    prepare(lab, WAITING)
    process = lab.start(*TWO_BY_TWO, "--", "python", "train.py")
    lab.wait_until_running("r", 4)
    lab.wait_until(lambda: all(row["pid"] for row in lab.status("r")))
    os.kill(lab.status("r")[3]["pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=GUARD)
    assert "rank 3 on node-1 failed first: killed by SIGKILL" in err


def test_ranks_outlive_the_process_that_they_were_forked_from(lab: Lab) -> None:
    prepare(lab, WAITING)
    process = lab.start(*TWO_BY_TWO, "--", "python", "train.py")
    lab.wait_until_running("r", 4)
    lab.wait_until(lambda: all(row["pid"] for row in lab.status("r")))
    found = importers(lab)
    assert len(found) == 2
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    lab.wait_until(lambda: not importers(lab))
    lab.write("go", "")
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, err
    assert {row["status"] for row in lab.status("r")} == {"Completed"}


def test_nothing_is_left_when_an_agent_is_killed(lab: Lab) -> None:
    prepare(lab, WAITING)
    process = lab.start(*TWO_BY_TWO, "--", "python", "train.py")
    lab.wait_until_running("r", 4)
    lab.kill_node("r", 1)
    process.communicate(timeout=GUARD)
    assert process.returncode == 3
    # The lab sees that no process is left.


def test_a_run_is_cancelled_while_it_imports(lab: Lab) -> None:
    prepare(lab, PROGRAM, "import time; open('importing', 'w').close(); time.sleep(3600)")
    process = lab.start(*TWO_BY_TWO, "--grace", ENDLESS, "--", "python", "train.py")
    lab.wait_until(lambda: (lab.folder / "importing").exists())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GUARD)
    assert process.returncode == 130
    assert lab.events("r", "process_started") == []


def test_where_the_importing_process_is_killed_the_ranks_are_started_one_by_one(lab: Lab) -> None:
    prepare(lab, PROGRAM, "import os, time; open(f'importing-{os.getpid()}', 'w').close(); time.sleep(3600)")
    process = lab.start(*TWO_BY_TWO, "--", "python", "train.py")
    lab.wait_until(lambda: len(importing(lab)) == 2)
    for path in importing(lab):
        os.kill(int(path.name.rpartition("-")[2]), signal.SIGKILL)
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 0, err
    said = "start_method fork: processes are started one by one instead, for the process that was to import"
    assert err.count(said) == 1
    assert len(notes(lab)) == 1
    assert node_log(lab, 0).count(said) == node_log(lab, 1).count(said) == 1


def importing(lab: Lab) -> list[Path]:
    return list(lab.folder.glob("importing-*"))


def test_a_process_with_a_prefix_is_started_by_it(lab: Lab) -> None:
    prepare(lab, PROGRAM + "print(os.nice(0))")
    flags = ("run", "--name", "r", "--nproc", "2", *FORK, "--prefix", "nice -n 3", "--prefix-ranks", "1")
    result = lab.run(*flags, "--", "python", "train.py")
    assert result.returncode == 0, result.stderr
    first, second = (int(lab.log("r", f"70_driver_log_{rank}.txt").split()[-1]) for rank in range(2))
    assert second == first + 3
    log = lab.log("r", "55_azureml-execution-node-0.txt")
    assert "forking rank 0" in log and "starting rank 1" in log
    assert "which is not the job's Python" in notes(lab)[0]


def test_the_plan_says_what_is_imported(lab: Lab) -> None:
    result = lab.run("plan", *FORK, "--nproc", "2", "--preload", "numpy.linalg", "--", "python", "train.py")
    assert "  forked from one process that has imported: preloaded, numpy.linalg\n" in result.stdout
