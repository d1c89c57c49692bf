"""./logs while the job runs, from all nodes, and what is left of it whoever is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import yaml

from .conftest import Lab

PROGRAM = """
import os, pathlib, sys, time
rank = os.environ["RANK"]
logs = pathlib.Path("logs")
logs.mkdir(exist_ok=True)
(logs / f"own-{rank}").write_text(rank)
(logs / "same").write_text("same")
with open(logs / "events", "a") as events:
    step = 0
    while not pathlib.Path(sys.argv[1]).exists():
        print(f"{rank} {step}", file=events, flush=True)
        if rank == "0" and step < 100:
            (logs / f"tick-{step}").write_text("")
        step += 1
        time.sleep(0.05)
"""


def start(lab: Lab, nodes: int = 2, *flags: str) -> Path:
    """Start a run whose ranks write until the file given back is made."""
    lab.write("src/train.py", PROGRAM)
    end = lab.folder / "end"
    job = {
        "command": f"python train.py {end}",
        "code": "src",
        "resources": {"instance_count": nodes},
        "experiment_name": "e",
    }
    lab.write("job.yml", yaml.safe_dump(job))
    assert lab.run("run", "job.yml", "--name", "r", "--detach", *flags).returncode == 0
    return end


def has_content(path: Path) -> bool:
    return path.exists() and path.read_text("utf-8") != ""


def below(folder: Path) -> dict[str, str]:
    found = {p.relative_to(folder).as_posix(): p.read_text("utf-8") for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: text for name, text in found.items() if not name.startswith(("azureml/", "tick-"))}


def test_logs_of_all_nodes_grow_while_the_job_runs_and_are_there_once_at_the_end(lab: Lab) -> None:
    end = start(lab)
    logs = lab.run_folder("r") / "logs"
    events = [logs / "events", logs / "node-1" / "events"]
    lab.wait_until(lambda: all(path.exists() for path in events))
    sizes = [path.stat().st_size for path in events]
    lab.wait_until(lambda: all(path.stat().st_size > size for path, size in zip(events, sizes, strict=True)))
    end.touch()
    assert lab.run("wait", "r").returncode == 0
    found = below(logs)
    assert found.keys() == {"events", "node-1/events", "own-0", "own-1", "same"}
    assert found["events"].startswith("0 0\n0 1\n") and found["node-1/events"].startswith("1 0\n1 1\n")


def test_a_file_is_in_the_run_folder_within_two_seconds(lab: Lab) -> None:
    end = start(lab, 1)
    logs = lab.run_folder("r") / "logs"
    lab.wait_until(lambda: len(list(logs.glob("tick-*"))) > 30)
    # The file was written once, and nothing has touched it since but its second name.
    waits = [path.stat().st_ctime - path.stat().st_mtime for path in logs.glob("tick-*")]
    end.touch()
    assert lab.run("wait", "r").returncode == 0
    assert min(waits) < 2, waits  # The fastest counts: on a busy machine others wait for a processor.


@pytest.mark.slow
def test_what_was_brought_stays_when_agent_and_keeper_are_killed(lab: Lab) -> None:
    start(lab)
    logs = lab.run_folder("r") / "logs"
    lab.wait_until(lambda: all(map(has_content, (logs / "events", logs / "node-1/events", logs / "node-1/own-1"))))
    lab.kill_node("r", 1)
    assert lab.run("wait", "r").returncode != 0
    found = below(logs)
    assert found["node-1/own-1"] == "1" and found["node-1/events"].startswith("1 0\n")
    assert found["own-0"] == "0" and found["events"].startswith("0 0\n")


@pytest.mark.slow
def test_what_was_brought_stays_when_the_coordinator_is_killed(lab: Lab) -> None:
    start(lab)
    logs = lab.run_folder("r") / "logs"
    lab.wait_until(lambda: all(map(has_content, (logs / "events", logs / "node-1/events", logs / "node-1/own-1"))))
    os.kill(lab.show("r")["coordinator"]["pid"], signal.SIGKILL)
    lab.wait_until(lambda: not lab.processes())
    everything = below(lab.run_folder("r"))
    assert everything["logs/events"].startswith("0 0\n")
    assert any(text.startswith("1 0\n") for name, text in everything.items() if name.endswith("events"))
