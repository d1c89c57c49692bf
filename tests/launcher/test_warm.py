"""`regiment warm`: what stays imported between runs, whom it serves, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ENDLESS, GUARD, Lab, open_lab
from .join.nodes import Joined, ended

COUNTED = "import os, sys\nopen({path!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
"""A module that leaves a line for each process that has imported it."""
PROGRAM = "import counted, os, sys\nprint('rank', os.environ['RANK'], os.environ['REGIMENT_ATTEMPT'], sys.argv[1:])\n"
WAITING = PROGRAM + "import time\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
FORK = ("--type", "pytorch", "--nproc", "2", "--start-method", "fork", "--preload", "counted")


class Pool:
    """A lab with a module that a warm pool can import, from wherever it is started."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.imports = lab.folder / "imports"
        lab.write("lib/counted.py", COUNTED.format(path=str(self.imports)))
        self.environ = {"PYTHONPATH": f"{lab.folder}/lib:{os.environ.get('PYTHONPATH', '')}".rstrip(":")}

    def warm(self, *flags: str) -> None:
        result = self.lab.run("warm", "--preload", "counted", *flags, **self.environ)
        assert result.returncode == 0, result.stderr

    def run(self, name: str, *flags: str, program: str = PROGRAM, **environ: str) -> str:
        """Run a job to its end; gives the node's log."""
        self.lab.write("train.py", program)
        command = ("run", "--name", name, *FORK, *flags, "--", "python", "train.py", "--lr", "0.1")
        result = self.lab.run(*command, **{**self.environ, **environ})
        assert result.returncode == 0, result.stderr
        for rank in (0, 1):
            log = self.lab.log(name, f"70_driver_log_{rank}.txt")
            assert log == f"rank {rank} 0 ['--lr', '0.1']\n"
        return self.lab.log(name, "55_azureml-execution-node-0.txt")

    def states(self) -> list[dict[str, object]]:
        states: list[dict[str, object]] = json.loads(self.lab.run("warm", "--list", "-o", "json").stdout)
        return states

    def imported(self) -> list[int]:
        return [int(line) for line in self.imports.read_text().split()]


@pytest.fixture
def pool(lab: Lab) -> Iterator[Pool]:
    found = Pool(lab)
    yield found
    assert lab.run("warm", "--stop").returncode == 0


def test_a_run_forks_from_what_was_imported_before_it_and_the_next_one_too(pool: Pool) -> None:
    pool.warm()
    [first] = pool.imported()
    log = pool.run("a")
    assert "forking from what the warm pool had imported: counted for: whatever script comes" in log
    assert "importing" not in log and log.count(" forking rank ") == 2
    pool.warm()  # Comes back once another one has imported.
    assert len(pool.imported()) == 2
    assert "importing" not in pool.run("b")
    assert not Path(f"/proc/{first}").exists(), "it ended with the run that had it"
    assert [event["text"] for event in pool.lab.events("b", "note")] == []


def test_it_serves_nobody_who_would_import_otherwise(pool: Pool) -> None:
    pool.warm("--any-env", "LR,SEED")
    log = pool.run("a", OTHER="1")
    assert "importing again, for the variable OTHER has changed since the warm pool's import" in log
    pool.warm()
    assert "importing" not in pool.run("b", LR="2", TERM="xterm", OMP_NUM_THREADS="7")
    pool.warm()
    pool.lab.write("colorsys.py", "")  # Comes before the library's, which nobody has imported.
    assert "importing" not in pool.run("c")
    pool.warm()
    pool.lab.write("counted.py", "")  # Comes before the one that was imported.
    assert "/counted.py has changed since the warm pool's import" in pool.run("d")
    assert len(pool.states()) == 1


def test_it_serves_nobody_from_other_surroundings_and_says_why(pool: Pool) -> None:
    pool.warm()
    old = os.umask(0o027)
    try:
        log = pool.run("a")
    finally:
        os.umask(old)
    assert log.count(" importing counted for: python train.py") == 1
    [note] = pool.lab.events("a", "note")
    assert note["text"] == "the warm pool is of no use here: Umask (/proc/PID/status) is another one there"


def test_a_restart_forks_again_from_the_same_process(pool: Pool) -> None:
    pool.warm()
    failing = PROGRAM + "sys.exit(os.environ['REGIMENT_ATTEMPT'] == '0')\n"
    lab = pool.lab
    lab.write("train.py", failing)
    lab.write(
        "job.yml",
        "command: python train.py\ndistribution: {type: pytorch, process_count_per_instance: 2}\n"
        "regiment: {start_method: fork, preload: [counted], restarts: {max: 1, backoff: 0}}\n",
    )
    assert lab.run("run", "job.yml", "--name", "r", **pool.environ).returncode == 0
    for attempt in range(2):
        path = lab.run_folder("r") / f"attempts/{attempt}/azureml-logs/55_azureml-execution-node-0.txt"
        log = path.read_text("utf-8")
        assert "forking from what the warm pool had imported" in log and "importing" not in log


def test_a_run_that_uses_it_goes_on_when_the_pool_is_ended_or_killed(pool: Pool) -> None:
    lab = pool.lab
    lab.write("train.py", WAITING)
    for name, how in (("a", "stop"), ("b", "kill")):
        pool.warm()
        [state] = pool.states()
        process = lab.start("run", "--name", name, *FORK, "--", "python", "train.py", **pool.environ)
        lab.wait_until_running(name, 2)
        if how == "stop":
            lab.run("warm", "--stop")
            os.kill(int(str(state["pid"])), signal.SIGTERM)  # It has retired, and is only their keeper's parent now.
        else:
            os.kill(int(str(state["pid"])), signal.SIGKILL)
        assert pool.states() == []
        lab.write("go", "")
        _, err = process.communicate(timeout=GUARD)
        assert process.returncode == 0, err
        (lab.folder / "go").unlink()
        if how == "stop":
            lab.wait_until(lambda: list(lab.sockets.glob("regiment-warm-*")) == [])
    pool.warm()  # Clears up what the killed one has left.


def test_an_agent_of_the_pools_that_is_killed_is_replaced_and_a_killed_rank_is_named(pool: Pool) -> None:
    lab = pool.lab
    pool.warm()
    [importer] = pool.imported()
    agent = lab.parent(importer)
    assert agent is not None
    os.kill(agent, signal.SIGKILL)
    lab.wait_until(lambda: len(pool.imported()) == 2 and not Path(f"/proc/{importer}").exists())
    pool.warm()
    lab.write("train.py", WAITING)
    process = lab.start("run", "--name", "r", *FORK, "--", "python", "train.py", **pool.environ)
    lab.wait_until_running("r", 2)
    lab.wait_until(lambda: all(row["pid"] for row in lab.status("r")))
    assert "importing" not in lab.log("r", "55_azureml-execution-node-0.txt")
    os.kill(lab.status("r")[1]["pid"], signal.SIGSEGV)
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 1 and "rank 1 on node-0 failed first: killed by SIGSEGV" in err


def test_nothing_is_left_where_a_node_of_the_pools_is_killed_with_its_keeper(pool: Pool) -> None:
    pool.warm()
    lab = pool.lab
    lab.write("train.py", WAITING)
    process = lab.start("run", "--name", "r", *FORK, "--", "python", "train.py", **pool.environ)
    lab.wait_until_running("r", 2)
    lab.kill_node("r", 0)
    process.communicate(timeout=GUARD)
    assert process.returncode == 3
    # The lab sees that no process is left.


def test_it_ends_by_itself_when_its_time_is_over(pool: Pool) -> None:
    pool.warm("--for", "0.01m")
    pool.lab.wait_until(lambda: not pool.lab.processes())
    assert list(pool.lab.sockets.iterdir()) == []


def test_what_cannot_be_forked_is_not_kept(lab: Lab) -> None:
    lab.write("lib/threaded.py", "import threading as t; t.Thread(target=t.Event().wait, daemon=True).start()")
    for module, reason in (
        ("threaded", "what was imported has started threads"),
        ("missing", "missing cannot be imported: ModuleNotFoundError: No module named 'missing'"),
    ):
        path = f"{lab.folder}/lib:{os.environ.get('PYTHONPATH', '')}".rstrip(":")
        result = lab.run("warm", "--preload", module, PYTHONPATH=path)
        assert result.returncode == 2
        assert f"nothing can be forked from what has imported {module}: {reason}" in result.stderr


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    with open_lab(tmp_path) as lab:
        folder = lab.sockets / f"regiment-warm-{os.getuid()}"
        folder.mkdir()
        folder.chmod(0o777)
        result = lab.run("warm", "--preload", "colorsys")
        assert result.returncode == 2 and f"{folder} is not this user's alone" in result.stderr
        folder.rmdir()


def test_each_node_that_was_joined_forks_from_a_pool_of_its_own(pool: Pool) -> None:
    """Two nodes on this machine, each with a folder for its pool, as each machine has one."""
    lab, nodes = pool.lab, Joined(pool.lab, 2)
    lab.write("train.py", PROGRAM)
    places = [{**pool.environ, "XDG_RUNTIME_DIR": str(lab.sockets / f"of-{rank}")} for rank in range(2)]
    for place in places:
        Path(place["XDG_RUNTIME_DIR"]).mkdir()
        assert lab.run("warm", "--preload", "counted", **place).returncode == 0
    assert len(pool.imported()) == 2
    command = (*FORK, "--", "python", "train.py")
    started = [nodes.start(rank, *command, prefix=(), **place) for rank, place in enumerate(places)]
    results = [ended(process) for process in started]
    assert [result.returncode for result in results] == [0, 0], results
    for rank, place in enumerate(places):
        log = lab.log("r", f"node-{rank}/55_azureml-execution-node-{rank}.txt")
        assert "forking from what the warm pool had imported" in log and "importing" not in log
        assert lab.run("warm", "--stop", **place).returncode == 0
    lab.wait_until(lambda: not list(lab.sockets.glob("of-*/*")))
    for path in lab.sockets.iterdir():
        path.rmdir()


def test_ctrl_c_ends_a_run_that_uses_it(pool: Pool) -> None:
    pool.warm()
    lab = pool.lab
    lab.write("train.py", WAITING)
    process = lab.start("run", "--name", "r", *FORK, "--grace", ENDLESS, "--", "python", "train.py", **pool.environ)
    lab.wait_until_running("r", 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GUARD)
    assert process.returncode == 130
