"""Nodes that do not see the run folder: emulated ones, from which the kernel hides it, leave the same run folder."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Lab

_JOB = """\
command: python job.py
code: src
outputs: {model: }
resources: {instance_count: 2}
experiment_name: e
"""
_SCRIPT = """\
import os, sys
from regiment import Run
rank = os.environ["RANK"]
print("hello from", rank, flush=True)
sys.stdout.buffer.write(bytes(range(256)) * 3)
os.makedirs("outputs/a/b")
os.makedirs("outputs/empty")
os.makedirs("logs/deep")
open("outputs/a/same", "w").write("same")
open("outputs/a/b/own", "w").write(rank)
open(f"outputs/of-{rank}", "w").write(rank)
os.chmod(f"outputs/of-{rank}", 0o750)
os.symlink("a/b/own", "outputs/link")
os.symlink("../a/same", "outputs/a/up")
open(os.fsencode("outputs/n\\u00e4me ") + bytes([255]), "w").close()
open("logs/deep/l.txt", "w").write(f"log of {rank}")
open("logs/early.txt", "w").write("early")
os.symlink("early.txt", "logs/link")
open(os.environ["MODEL"] + "/weights", "w").write(rank)
Run.get_context().log("loss", 0.5)
"""


@pytest.fixture
def apart(lab: Lab) -> dict[str, str]:
    """Give the environment in which nodes see nothing of the workspace's runs; each has a disk of its own."""
    disks = lab.folder / "disks"
    disks.mkdir()
    workspace = lab.folder / ".regiment"
    hidden = [workspace / name for name in ("runs", "scratch", "snapshots")]
    for folder in hidden:
        folder.mkdir(parents=True)
    return {"REGIMENT_HIDDEN_FROM_NODES": ":".join(map(str, hidden)), "REGIMENT_NODE_FOLDER": str(disks)}


def no_disk_is_used(lab: Lab) -> bool:
    """Say whether nothing of a run is left on its nodes."""
    return {path.name for own in (lab.folder / "disks").iterdir() for path in own.iterdir()} <= {"cache"}


_CHANGING = re.compile(
    rb'[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|\+00:00)|"(?:pid|runId)": ?(?:[0-9]+|"\w+")|/\S*/node-[0-9]+|"t":\d+'
)


def described(root: Path) -> dict[str, object]:
    """Give all that is in a run folder, but for times and what is called after the run or after a process."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = re.sub(r"-\d+-[0-9a-f]+\.jsonl$", "", str(path.relative_to(root)))
        if name.split("/")[0] in ("outputs", "attempts", "metrics") or name.startswith("logs"):
            if path.is_symlink():
                found[name] = str(path.readlink())
            elif path.is_dir():
                found[name] = None
            elif "azureml/" not in name and path.name != "ledger.jsonl":
                mode = stat.S_IMODE(path.stat().st_mode)
                found[name] = mode, _CHANGING.sub(b"", path.read_bytes())
    return found


def test_a_run_without_a_shared_folder_leaves_the_same_run_folder(lab: Lab, apart: dict[str, str]) -> None:
    lab.write("src/job.py", _SCRIPT)
    lab.write("src/tools/helper.sh", "#!/bin/sh\n").chmod(0o755)
    lab.write("job.yml", _JOB.replace("python job.py", "MODEL=${{outputs.model}} python job.py"))
    assert lab.run("run", "job.yml", "--name", "shared").returncode == 0
    result = lab.run("run", "job.yml", "--name", "apart", **apart)
    assert result.returncode == 0, result.stderr
    one, other = described(lab.run_folder("shared")), described(lab.run_folder("apart"))
    assert one.keys() == other.keys()
    assert one == other
    assert len([name for name in one if name.startswith("outputs/")]) > 10
    assert lab.show("apart")["warnings"] == []
    assert no_disk_is_used(lab)
    assert list(lab.run_folder("apart").glob(".shared-*")) == []


def test_nodes_that_see_the_run_folder_use_it(lab: Lab) -> None:
    lab.write("job.yml", "command: pwd\ncode: src\nexperiment_name: e\n")
    lab.write("src/x", "")
    result = lab.run("run", "job.yml", "--name", "r", REGIMENT_HIDDEN_FROM_NODES=str(lab.folder / "nowhere"))
    assert result.returncode == 0, result.stderr
    assert lab.log("r", "70_driver_log.txt") == f"{lab.folder}/.regiment/scratch/r/node-0\n"


def test_logs_and_metrics_come_while_the_job_runs(lab: Lab, apart: dict[str, str]) -> None:
    lab.write("src/x", "")
    command = "echo printed; mkdir logs; echo written > logs/l.txt; until [ -e '$GO' ]; do sleep 0.05; done"
    command = command.replace("$GO", str(lab.folder / "go"))
    lab.write("job.yml", json.dumps({"command": command, "code": "src", "experiment_name": "e"}))
    process = lab.start("run", "job.yml", "--name", "r", **apart)
    printed, written = (lab.run_folder("r") / name for name in ("azureml-logs/70_driver_log.txt", "logs/l.txt"))
    lab.wait_until(lambda: printed.exists() and printed.read_text() == "printed\n")
    lab.wait_until(lambda: written.exists() and written.read_text() == "written\n")
    lab.write("go", "")
    assert process.wait() == 0
    assert no_disk_is_used(lab)


def test_an_attempt_that_follows_works_in_the_folder_of_the_last_and_its_cause_is_known(
    lab: Lab, apart: dict[str, str]
) -> None:
    lab.write("src/x", "")
    fails = f"touch left; echo 'RuntimeError: NCCL error'; {lab.everybody(2)}; exit 1"
    command = f"if [ -e left ]; then echo again; else {fails}; fi"
    job = {"command": command, "code": "src", "experiment_name": "e", "resources": {"instance_count": 2}}
    lab.write("job.yml", json.dumps(job))
    result = lab.run("run", "job.yml", "--name", "r", "--max-restarts", "1", **apart)
    assert result.returncode == 0, result.stderr
    logs = lab.run_folder("r") / "attempts"
    assert "NCCL error" in (logs / "0/azureml-logs/node-1/70_driver_log_1.txt").read_text("utf-8")
    assert (logs / "1/azureml-logs/node-1/70_driver_log_1.txt").read_text("utf-8") == "again\n"
    assert no_disk_is_used(lab)


def test_what_a_killed_node_had_sent_is_kept_and_the_rest_is_counted(lab: Lab, apart: dict[str, str]) -> None:
    lab.write("src/x", "")
    command = "mkdir outputs && truncate -s 2000000000 outputs/big && echo small > outputs/a-small; echo done"
    lab.write("job.yml", json.dumps({"command": command, "code": "src", "experiment_name": "e"}))
    process = lab.start("run", "job.yml", "--name", "r", **apart)
    outputs = lab.run_folder("r") / "outputs"
    lab.wait_until(lambda: list(outputs.glob(".*.part")))
    lab.kill_node("r", 0)
    assert process.wait() == 3
    assert sorted(path.name for path in outputs.iterdir()) == ["a-small", "big.partial"]
    assert 0 < (outputs / "big.partial").stat().st_size < 2_000_000_000
    assert "1 whole, one in part (outputs/big.partial)" in str(lab.show("r")["warnings"])


@pytest.mark.slow
def test_many_small_files_come_whole(lab: Lab, apart: dict[str, str]) -> None:
    lab.write(
        "src/job.py",
        "import os\nos.mkdir('outputs')\nfor n in range(10_000): open(f'outputs/{n}', 'w').write(str(n))\n",
    )
    lab.write("job.yml", "command: python job.py\ncode: src\nexperiment_name: e\n")
    result = lab.run("run", "job.yml", "--name", "r", **apart)
    assert result.returncode == 0, result.stderr
    found = {path.name: path.read_text("utf-8") for path in (lab.run_folder("r") / "outputs").iterdir()}
    assert found == {str(n): str(n) for n in range(10_000)}
    assert no_disk_is_used(lab)


def test_a_flood_does_not_wait_for_a_coordinator_that_is_stopped(lab: Lab, apart: dict[str, str]) -> None:
    lab.write("src/x", "")
    done = lab.folder / "done"
    command = (
        f"until [ -e '{lab.folder}/go' ]; do sleep 0.01; done; head -c 10000000 /dev/zero | tr '\\0' x; touch '{done}'"
    )
    lab.write("job.yml", json.dumps({"command": command, "code": "src", "experiment_name": "e"}))
    process = lab.start("run", "job.yml", "--name", "r", **apart)
    lab.wait_until_running("r", 1)
    coordinator = lab.show("r")["coordinator"]["pid"]
    os.kill(coordinator, signal.SIGSTOP)
    lab.write("go", "")
    lab.wait_until(done.exists)
    os.kill(coordinator, signal.SIGCONT)
    process.communicate()
    assert process.returncode == 0
    log = lab.run_folder("r") / "azureml-logs/70_driver_log.txt"
    assert log.read_bytes() == b"x" * 10_000_000
    assert no_disk_is_used(lab)


def test_inputs_that_a_node_does_not_see_are_brought_and_others_used_where_they_are(
    lab: Lab, apart: dict[str, str]
) -> None:
    lab.write("src/x", "")
    lab.write("hidden/deep/a.txt", "a")
    lab.write("hidden/b.txt", "b")
    (lab.folder / "hidden/link").symlink_to("b.txt")
    lab.write("seen/c.txt", "c")
    lab.write("one.csv", "1")
    inputs = {
        "h": {"path": "hidden", "mode": "download"},
        "m": {"path": "hidden", "mode": "ro_mount"},
        "f": {"path": "hidden/b.txt", "type": "uri_file", "mode": "download"},
        "s": {"path": "seen", "mode": "download"},
    }
    command = (
        "cat ${{inputs.h}}/deep/a.txt ${{inputs.h}}/link ${{inputs.m}}/b.txt ${{inputs.f}} ${{inputs.s}}/c.txt"
        " > outputs.txt; mkdir outputs; mv outputs.txt outputs"
    )
    job = {"command": command, "code": "src", "experiment_name": "e", "inputs": inputs}
    lab.write("job.yml", json.dumps(job))
    apart["REGIMENT_HIDDEN_FROM_NODES"] += f":{lab.folder}/hidden"
    result = lab.run("run", "job.yml", "--name", "r", **apart)
    assert result.returncode == 0, result.stderr
    assert (lab.run_folder("r") / "outputs/outputs.txt").read_text() == "abbbc"
    prepared = lab.log("r", "65_job_prep-node-0.txt")
    assert f"from {lab.folder}/seen to" in prepared and f"from {lab.folder}/hidden" not in prepared
    assert no_disk_is_used(lab)


def test_a_folder_that_is_not_on_the_node_is_named(lab: Lab, apart: dict[str, str]) -> None:
    lab.write("here/sub/job.yml", "command: 'true'\nexperiment_name: e\n")
    apart["REGIMENT_HIDDEN_FROM_NODES"] += f":{lab.folder}/here"
    argv = [
        sys.executable,
        "-m",
        "regiment",
        "run",
        "job.yml",
        "--name",
        "r",
        "--workspace",
        str(lab.folder / ".regiment"),
    ]
    result = subprocess.run(
        argv, cwd=lab.folder / "here/sub", env={**lab.environ, **apart}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 3
    assert f"there is no {lab.folder}/here/sub on node-0; give 'code:' to send it there" in result.stderr
    assert no_disk_is_used(lab)
