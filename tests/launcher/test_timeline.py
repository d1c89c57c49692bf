"""`regiment show RUN --timeline`: where the time of a start went, of real runs."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from .conftest import Lab

TWO_BY_TWO = ("run", "--nodes", "2", "--nproc", "2", "--type", "pytorch", "--start-method", "spawn")
OF_THE_LAUNCHER = ["queued", "node ready", "snapshot", "roll call", "spawned"]


def timeline(lab: Lab, run_id: str, *flags: str) -> dict[str, Any]:
    result = lab.run("show", run_id, "--timeline", *flags, "-o", "json")
    assert result.returncode == 0, result.stderr
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def phases(found: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(span["phase"] for span in found))


def check_order(data: dict[str, Any]) -> None:
    """See that each phase of a process begins where, or after, the one before has ended, and lasts for a while."""
    for node in data["nodes"]:
        for rank in node["ranks"]:
            spans = [*node["phases"], *rank["phases"]]
            for before, after in pairwise(spans):
                assert before["begin"] <= before["end"] <= after["begin"], (before, after)


def test_every_run_has_the_phases_that_the_launcher_sees(lab: Lab) -> None:
    assert lab.run(*TWO_BY_TWO, "--name", "r", "--", "true").returncode == 0
    data = timeline(lab, "r")
    assert [node["nodeId"] for node in data["nodes"]] == ["node-0", "node-1"]
    assert [[rank["rank"] for rank in node["ranks"]] for node in data["nodes"]] == [[0, 1], [2, 3]]
    assert all({*phases(node["phases"])} == {*OF_THE_LAUNCHER[:-1]} for node in data["nodes"])
    assert all(phases(rank["phases"]) == ["spawned"] for node in data["nodes"] for rank in node["ranks"])
    assert data["unknown"] == ["inputs", "preload", "interpreter up", "imports", "own code", "rendezvous", "first step"]
    check_order(data)
    text = lab.run("show", "r", "--timeline").stdout
    assert text.splitlines()[1].startswith("slowest  node-")
    assert all(phase.upper() in text for phase in OF_THE_LAUNCHER)
    assert "not known: interpreter up, imports, own code, rendezvous, first step" in text


def test_each_attempt_has_a_timeline_and_the_trace_has_all(lab: Lab) -> None:
    lab.run(*TWO_BY_TWO, "--max-restarts", "1", "--name", "r", "--", "false")
    newest, first = timeline(lab, "r"), timeline(lab, "r", "--attempt", "0")
    assert (newest["attempt"], newest["attempts"], first["attempt"]) == (1, 2, 0)
    assert "node ready" in phases(first["nodes"][0]["phases"])
    assert phases(newest["nodes"][0]["phases"])[:2] == ["queued", "snapshot"]
    assert newest["nodes"][0]["phases"][0]["seconds"] >= 1  # The pause between the two.
    check_order(newest)
    refused = lab.run("show", "r", "--timeline", "--attempt", "2")
    assert (refused.returncode, refused.stderr) == (2, "regiment: run r has no attempt 2; it has 0 to 1\n")
    result = lab.run("show", "r", "--trace", "trace.json")
    assert result.returncode == 0 and "wrote trace.json" in result.stderr, result.stderr
    events = json.loads((lab.folder / "trace.json").read_text("utf-8"))["traceEvents"]
    spawned = [event for event in events if event["name"] == "spawned"]
    assert [event["args"]["attempt"] for event in spawned] == [0] * 4 + [1] * 4
    assert all({"name", "ph", "pid", "tid"} <= event.keys() for event in events)
    timed = [event for event in events if event["ph"] == "X"]
    assert all(isinstance(event[key], int) and event[key] >= 0 for event in timed for key in ("ts", "dur"))
    assert [event["ts"] for event in timed] == sorted(event["ts"] for event in timed)


def test_a_comparison_with_itself_finds_nothing_slower(lab: Lab) -> None:
    assert lab.run("run", "--name", "r", "--", "true").returncode == 0
    result = lab.run("show", "r", "--timeline", "--diff", "r")
    assert result.stdout.startswith("nothing at the start of r takes noticeably longer than in r\n"), result.stderr


def test_runs_without_a_start_have_no_timeline(lab: Lab) -> None:
    lab.script("from regiment import Experiment, Workspace\nExperiment(Workspace('.regiment'), 'e').start_logging()\n")
    kept = lab.run("list", "--query", "[].runId", "-o", "tsv").stdout.strip()
    result = lab.run("show", kept, "--timeline")
    assert (result.returncode, result.stdout) == (2, "")
    assert f"run {kept} has no timeline: Python code keeps it" in result.stderr
    assert lab.run("run", "--name", "r", "--", "true").returncode == 0
    (lab.run_folder("r") / "events.jsonl").write_text("")
    assert "run r has no timeline" in lab.run("show", "r", "--timeline").stderr
    (lab.run_folder("r") / "events.jsonl").write_text('{"event":"run_started"}\n')
    damaged = lab.run("show", "r", "--timeline")
    assert damaged.returncode == 2 and "events.jsonl is damaged" in damaged.stderr
