"""Restarts with `start_method: fork`: the next attempt's ranks come from what has been imported for the one before."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from .conftest import ENDLESS, Lab
from .test_fork import importers

RANKS = 2
COUNTING = "import os\nopen('imports', 'a').write(f'{os.getpid()}\\n')\nwords = 'first'\n"
"""A module that leaves a line for each process that has imported it."""
PROGRAM = """\
import os, sys, time, preloaded
attempt, rank = os.environ["REGIMENT_ATTEMPT"], os.environ["RANK"]
print("attempt", attempt, "of", os.environ["MASTER_PORT"], preloaded.words, sys.argv[1:], flush=True)
open(f"up-{attempt}-{rank}", "w").close()
if attempt == "0":
    while not os.path.exists("go"): time.sleep(0.01)
    sys.exit(7) if rank == "1" else time.sleep(3600)
"""


def prepare(lab: Lab, module: str = COUNTING) -> None:
    lab.write("train.py", PROGRAM)
    lab.write("preloaded.py", module)
    command = "python train.py --rank $RANK"
    lab.write(
        "job.yml",
        f"command: {command}\ndistribution: {{type: pytorch, process_count_per_instance: {RANKS}}}\n"
        "regiment: {start_method: fork, preload: [preloaded], restarts: {max: 2, backoff: 0}}\n",
    )


def start(lab: Lab) -> None:
    """Start the job, and wait until the first attempt's ranks are there."""
    lab.start("run", "job.yml", "--name", "r", "--grace", ENDLESS)
    lab.wait_until(lambda: all((lab.folder / f"up-0-{rank}").exists() for rank in range(RANKS)))
    lab.wait_until(lambda: all(row["pid"] for row in lab.status("r")))


def go_on(lab: Lab) -> None:
    """Let a rank of the first attempt fail, and wait for the second's end."""
    lab.write("go", "")
    assert lab.run("wait", "r").returncode == 0


def imports(lab: Lab) -> list[int]:
    return [int(line) for line in (lab.folder / "imports").read_text("utf-8").split()]


def attempt_log(lab: Lab, attempt: int, name: str = "55_azureml-execution-node-0.txt") -> str:
    return (lab.run_folder("r") / "attempts" / str(attempt) / "azureml-logs" / name).read_text("utf-8")


def words(lab: Lab, attempt: int) -> list[str]:
    return attempt_log(lab, attempt, "70_driver_log_1.txt").split()


def test_a_restart_forks_from_the_same_process_and_imports_nothing(lab: Lab) -> None:
    prepare(lab)
    start(lab)
    go_on(lab)
    [pid] = imports(lab)
    assert not Path(f"/proc/{pid}").exists(), "it ends with the run"
    assert words(lab, 0)[1::3][:1] == ["0"] and words(lab, 1)[1::3][:1] == ["1"]
    assert words(lab, 0)[3] != words(lab, 1)[3], "each attempt has a port of its own"
    assert words(lab, 1)[4:] == ["first", "['--rank',", "'1']"]
    log = attempt_log(lab, 1)
    assert "forking from what the last attempt had imported" in log and log.count(" forking rank ") == RANKS
    assert not any("one by one" in event["text"] for event in lab.events("r", "note"))


def test_a_restart_imports_again_what_has_changed(lab: Lab) -> None:
    prepare(lab)
    start(lab)
    lab.write("preloaded.py", COUNTING.replace("first", "second"))
    go_on(lab)
    assert len(set(imports(lab))) == 2
    assert words(lab, 0)[4] == "first" and words(lab, 1)[4] == "second"
    log = attempt_log(lab, 1)
    assert "preloaded.py has changed since the last attempt's import" in log
    assert log.count(" forking rank ") == RANKS


def test_a_restart_imports_again_where_a_file_has_come_before_a_module(lab: Lab) -> None:
    prepare(lab, "import colorsys\n" + COUNTING + "words = getattr(colorsys, 'mine', words)\n")
    start(lab)
    lab.write("colorsys.py", "mine = 'mine'")
    lab.write("decimal.txt", "no module")
    go_on(lab)
    assert words(lab, 0)[4] == "first" and words(lab, 1)[4] == "mine"
    assert "colorsys.py has changed" in attempt_log(lab, 1)


def test_a_process_that_is_killed_has_a_spare_by_the_next_attempt(lab: Lab) -> None:
    prepare(lab)
    start(lab)
    [pid] = importers(lab)
    os.kill(pid, signal.SIGKILL)
    lab.wait_until(lambda: "another one is ready for the next attempt" in attempt_log(lab, 0))
    go_on(lab)
    assert len(imports(lab)) == 2 and imports(lab)[0] == pid
    assert "the process that the ranks were forked from has ended" in attempt_log(lab, 0)


def test_nothing_stays_of_what_was_kept_when_the_run_is_cancelled(lab: Lab) -> None:
    prepare(lab)
    start(lab)
    lab.run("cancel", "r")
    assert lab.run("wait", "r").returncode == 4
    [pid] = imports(lab)
    assert not Path(f"/proc/{pid}").exists()


def test_what_the_processes_left_running_is_dead_before_the_next_attempt_and_the_import_stays(lab: Lab) -> None:
    prepare(lab)
    child = (
        "import os, subprocess\n"
        "if os.environ['REGIMENT_ATTEMPT'] == '0':\n"
        "    child = subprocess.Popen(['setsid', 'sh', '-c', \"trap '' TERM; while :; do sleep 77; done\"])\n"
        "    open('child-' + os.environ['RANK'], 'w').write(str(child.pid))\n"
        "else:\n"
        "    for rank in '01': assert not os.path.exists('/proc/' + open('child-' + rank).read())\n"
    )
    lab.write("train.py", child + PROGRAM)
    start(lab)
    go_on(lab)
    assert len(imports(lab)) == 1
