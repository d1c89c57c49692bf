"""The Python API inside jobs: on every rank of every type, in a Python that has no Regiment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from regiment import Workspace

from ..conftest import GUARD, Lab

CONTEXT = """
import os, sys
from regiment import Run
import regiment
assert ".zip" in regiment.__file__, regiment.__file__
assert sys.path[0] == os.path.dirname(os.path.abspath(__file__)), sys.path
run, rank = Run.get_context(), os.environ["RANK"]
assert run.id == os.environ["REGIMENT_RUN_ID"]
run.log("rank", int(rank))
run.tag(f"rank-{rank}", run.get_status())
with run.child_run(name=f"of rank {rank}") as child:
    child.log("rank", int(rank))
"""
TYPES = [
    pytest.param(("--type", "pytorch", "--nproc", "2", "--start-method", "spawn"), id="spawn"),
    pytest.param(("--type", "tensorflow", "--workers", "4"), id="tensorflow"),
    pytest.param(("--type", "pytorch", "--nproc", "2"), id="torchrun", marks=[pytest.mark.torch, pytest.mark.slow]),
    pytest.param(("--type", "mpi", "--nproc", "2"), id="mpi", marks=[pytest.mark.mpi, pytest.mark.slow]),
]


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a Python that has nothing installed."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=GUARD)
    return str(folder / "bin" / "python")


@pytest.mark.parametrize("flags", TYPES)
def test_every_rank_of_every_type_reaches_its_run(lab: Lab, bare_python: str, flags: tuple[str, ...]) -> None:
    lab.write("context.py", CONTEXT)
    done = lab.run(
        *("run", "--name", "r", "--nodes", "2", *flags, "--env", "PYTHONPATH=", "--", bare_python, "context.py")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = Workspace(lab.folder / ".regiment").get_run("r")
    assert sorted(run.get_metrics()["rank"]) == [0, 1, 2, 3]
    assert run.get_tags() == {f"rank-{rank}": "Running" for rank in range(4)}
    children = list(run.get_children())
    assert sorted(child.name for child in children) == [f"of rank {rank}" for rank in range(4)]
    assert {child.get_status() for child in children} == {"Completed"}
    assert sorted(child.get_metrics()["rank"] for child in children) == [0, 1, 2, 3]


def test_the_users_own_sitecustomize_and_pythonpath_stay(lab: Lab) -> None:
    lab.write("mine/sitecustomize.py", "mine = 'yes'\n")
    program = "import sys, sitecustomize; print(sitecustomize.mine, [p for p in sys.path if 'python' == p[-6:]])"
    command = ("--env", f"PYTHONPATH={lab.folder}/mine", "--", sys.executable, "-c", program)
    done = lab.run("run", "--quiet", *command)
    assert done.returncode == 0, done.stderr
    run = next(iter((lab.folder / ".regiment" / "runs").iterdir()))
    assert (run / "azureml-logs" / "70_driver_log.txt").read_text() == "yes []\n"


@pytest.mark.slow
def test_an_isolated_python_of_a_job_starts_all_the_same(lab: Lab) -> None:
    for flag in ("-I", "-E", "-S"):
        done = lab.run(
            "run", "--quiet", "--", sys.executable, flag, "-c", "import sys; assert '.zip' not in sys.path[-1]"
        )
        assert done.returncode == 0, done.stderr


def test_a_run_completes_by_its_processes_alone(lab: Lab, bare_python: str) -> None:
    lab.write(
        "early.py", "from regiment import Run\nwith Run.get_context() as run:\n    run.complete()\nraise SystemExit(3)"
    )
    assert lab.run("run", "--name", "r", "--", bare_python, "early.py").returncode == 1
    assert lab.show("r")["status"] == "Failed"


def test_a_rank_may_call_its_run_a_failure(lab: Lab, bare_python: str) -> None:
    program = (
        "from regiment import Run; import time; Run.get_context().fail('the data is empty', 'Empty'); time.sleep(3600)"
    )
    assert lab.run("run", "--name", "r", "--", bare_python, "-c", program).returncode == 1
    shown = lab.show("r")
    assert (shown["status"], shown["error"]["message"], shown["error"]["code"]) == (
        "Failed",
        "the data is empty",
        "Empty",
    )


def test_what_a_job_asks_wrongly_is_told_as_an_error_of_its_own(lab: Lab, bare_python: str) -> None:
    program = """
        from regiment import Run, UserError, Workspace
        run = Run.get_context()
        run.add_properties({"a": "1"})
        for wrong in (lambda: run.add_properties({"a": "2"}), lambda: Workspace.from_config().get_run("other")):
            try:
                wrong()
            except UserError as error:
                print(error)
    """
    lab.write("wrong.py", "\n".join(line[8:] for line in program.splitlines()))
    done = lab.run("run", "--name", "r", "--", bare_python, "wrong.py")
    assert done.returncode == 0, done.stderr
    first, second = lab.log("r", "70_driver_log.txt").splitlines()
    assert "cannot become '2'" in first
    assert second.startswith("there is no run 'other'")


def test_what_is_too_long_for_a_message_is_refused_and_harms_no_run(lab: Lab, bare_python: str) -> None:
    lab.write(
        "long.py",
        """
from regiment import Run, UserError
run = Run.get_context()
megabyte = "x" * (1 << 20)
for _ in range(17):
    run.log("text", megabyte)
try:
    run.get_metrics()
except UserError as error:
    print(error)
run.tag("goes", "on")
""",
    )
    done = lab.run("run", "--name", "r", "--", bare_python, "long.py")
    assert done.returncode == 0, done.stderr
    assert "the answer has 17 MB" in lab.log("r", "70_driver_log.txt")
    assert Workspace(lab.folder / ".regiment").get_run("r").get_tags() == {"goes": "on"}


def test_runs_that_a_job_leaves_open_fail_with_it(lab: Lab, bare_python: str) -> None:
    program = "from regiment import Run; Run.get_context().child_run(run_id='open')"
    assert lab.run("run", "--name", "r", "--", bare_python, "-c", program).returncode == 0
    # The coordinator keeps it, and is only about to end when its viewer has.
    left_open = Workspace(lab.folder / ".regiment").get_run("open")
    lab.wait_until(lambda: left_open.get_status() == "Failed")


# --- children that are submitted ----------------------------------------------------------------------

PARENT = """
import sys
from regiment import Run, ScriptRunConfig
run = Run.get_context()
for fruit in ["Apple", "Banana"]:
    run.log("Status", f"Launching {fruit}")
    run.submit_child(ScriptRunConfig(source_directory=".", script="child.py", arguments=["--fruit", fruit]))
for child in run.get_children():
    child.wait_for_completion()
"""
CHILD = """
import sys
from regiment import Run
run = Run.get_context()
run.log("fruit", sys.argv[2])
print(run.parent.id)
"""


@pytest.mark.slow
def test_a_job_submits_children_and_waits_for_them(lab: Lab, bare_python: str) -> None:
    lab.write("src/parent.py", PARENT)
    lab.write("src/child.py", CHILD)
    done = lab.run("run", "--name", "r", "--code", "src", "--", bare_python, "parent.py")
    assert done.returncode == 0, done.stdout + done.stderr
    run = Workspace(lab.folder / ".regiment").get_run("r")
    children = list(run.get_children())
    assert [child.get_status() for child in children] == ["Completed", "Completed"]
    assert {child.get_metrics()["fruit"] for child in children} == {"Apple", "Banana"}
    assert {lab.log(child.id, "70_driver_log.txt") for child in children} == {"r\n"}
    assert run.get_metrics() == {"Status": ["Launching Apple", "Launching Banana"]}


NESTED = "{python} -m regiment run --name child {flags} -- sh -c '{line}'"


def nested(line: str, flags: str = "") -> str:
    return NESTED.format(python=sys.executable, flags=flags, line=line)


@pytest.mark.slow
def test_regiment_run_inside_a_job_makes_a_child_and_ends_as_it_does(lab: Lab) -> None:
    done = lab.run("run", "--name", "r", "--", "sh", "-c", nested("echo from the child; exit 7", "--pass-exit-code"))
    assert done.returncode == 1
    assert lab.status("r")[0]["exitCode"] == 7
    assert "from the child" in lab.log("r", "70_driver_log.txt")
    assert lab.log("child", "70_driver_log.txt") == "from the child\n"
    parent = Workspace(lab.folder / ".regiment").get_run("child").parent
    assert parent is not None
    assert parent.id == "r"


@pytest.mark.slow
def test_a_child_outlives_its_killed_parent(lab: Lab) -> None:
    lab.write("src/keep", "")
    line = f"touch {lab.folder}/started; until [ -e {lab.folder}/go ]; do sleep 0.05; done; test -e keep"
    parent = lab.start("run", "--name", "r", "--code", "src", "--", "sh", "-c", nested(line))
    lab.wait_until((lab.folder / "started").exists)
    (rank,) = [row["pid"] for row in lab.status("r")]
    os.kill(rank, signal.SIGKILL)
    assert parent.wait(GUARD) == 1
    assert lab.show("child")["status"] == "Running"
    (lab.folder / "go").touch()
    assert lab.run("wait", "child").returncode == 0


@pytest.mark.slow
def test_a_node_that_is_lost_takes_no_child_with_it(lab: Lab) -> None:
    line = f"touch {lab.folder}/started; until [ -e {lab.folder}/go ]; do sleep 0.05; done"
    parent = lab.start("run", "--name", "r", "--", "sh", "-c", nested(line))
    lab.wait_until((lab.folder / "started").exists)
    lab.kill_node("r", 0)
    assert parent.wait(GUARD) == 3
    assert lab.show("child")["status"] == "Running"
    (lab.folder / "go").touch()
    assert lab.run("wait", "child").returncode == 0


def test_a_child_that_cannot_start_says_so_where_it_was_wanted(lab: Lab) -> None:
    command = f"{sys.executable} -m regiment run --name r -- true"
    done = lab.run("run", "--name", "r", "--", "sh", "-c", f"{command}; echo $?")
    assert done.returncode == 0
    *_, error, status = lab.log("r", "70_driver_log.txt").splitlines()
    assert "run 'r'" in error
    assert "--name" in error
    assert status == "2"


@pytest.mark.slow
def test_detached_a_child_only_gives_its_name(lab: Lab) -> None:
    assert lab.run("run", "--name", "r", "--", "sh", "-c", nested("true", "--detach --quiet")).returncode == 0
    assert lab.log("r", "70_driver_log.txt") == "child\n"
    assert lab.run("wait", "child").returncode == 0
    data = json.loads(lab.run("list", "-o", "json").stdout)
    assert {row["runId"] for row in data} >= {"r"}


def test_importing_the_api_in_a_job_is_quick_and_takes_the_standard_library_only(bare_python: str) -> None:
    from regiment.launcher.bundle import packed_agent

    folder = Path(bare_python).parent
    archive = packed_agent(folder)
    program = "import sys; from regiment import Run; print([name for name in sys.modules if name[:8] == 'regiment'])"
    done = subprocess.run(
        [bare_python, "-c", program],
        env={"PYTHONPATH": str(archive)},
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=True,
    )
    assert "regiment.launcher.submit" not in done.stdout
