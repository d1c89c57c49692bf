"""Outputs of a job: folders of their own on every node that end in the run's `outputs/`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from .conftest import GUARD, Lab


def write_job(lab: Lab, command: str, outputs: Mapping[str, object], nodes: int = 1, **more: object) -> None:
    job = {
        "command": command,
        "outputs": dict(outputs),
        "resources": {"instance_count": nodes},
        "experiment_name": "e",
        **more,
    }
    lab.write("job.yml", yaml.safe_dump(job))


def files(lab: Lab, run_id: str) -> dict[str, str]:
    folder = lab.run_folder(run_id) / "outputs"
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()}


def no_scratch(lab: Lab) -> bool:
    return not (lab.folder / ".regiment" / "scratch").exists()


def test_what_all_nodes_write_to_an_output_is_kept(lab: Lab) -> None:
    command = "cd ${{outputs.model}} && echo $RANK > own-$RANK; mkdir a; echo $RANK > a/weights; echo same > same"
    write_job(lab, command, {"model": None}, nodes=2)
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert files(lab, "r") == {
        "model/own-0": "0\n",
        "model/own-1": "1\n",
        "model/a/weights": "0\n",
        "node-1/model/a/weights": "1\n",
        "model/same": "same\n",
    }
    assert no_scratch(lab)


def test_outputs_of_a_failed_run_are_kept(lab: Lab) -> None:
    write_job(
        lab,
        f"echo $RANK > ${{{{outputs.model}}}}/$RANK; {lab.everybody(2)}; exit $RANK",
        {"model": {"mode": "upload"}},
        nodes=2,
    )
    assert lab.run("run", "job.yml", "--name", "r").returncode == 1
    assert files(lab, "r") == {"model/0": "0\n", "model/1": "1\n"}
    assert no_scratch(lab)


def test_an_output_nobody_wrote_is_an_empty_folder(lab: Lab) -> None:
    write_job(lab, "test -d ${{outputs.model}}", {"model": None}, nodes=2)
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert [path.name for path in (lab.run_folder("r") / "outputs").rglob("*")] == ["model"]


def test_a_file_output_is_a_path_that_can_be_opened(lab: Lab) -> None:
    outputs = {
        "best": {"type": "uri_file"},
        "table": {"type": "uri_file", "path": "azureml://datastores/d/paths/scores.csv"},
    }
    write_job(lab, "echo model > ${{outputs.best}}; echo scores > ${{outputs.table}}", outputs)
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert files(lab, "r") == {"best/best": "model\n", "table/scores.csv": "scores\n"}


def test_an_output_and_a_folder_of_the_same_name_in_outputs_are_both_kept(lab: Lab) -> None:
    lab.write("src/keep.txt", "")
    command = "mkdir -p outputs/model; echo plain > outputs/model/x; echo declared > ${{outputs.model}}/x"
    write_job(lab, command, {"model": None}, code="src")
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert files(lab, "r") == {"model/x": "declared\n", "model/x.1": "plain\n"}


def test_outputs_are_collected_when_the_job_runs_in_a_folder_as_it_stands(lab: Lab) -> None:
    write_job(lab, "echo $PWD > ${{outputs.o}}/where", {"o": None})
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert files(lab, "r") == {"o/where": f"{lab.folder}\n"}


def test_outputs_survive_a_killed_coordinator(lab: Lab) -> None:
    write_job(lab, "echo saved > ${{outputs.o}}/x; sleep 3600", {"o": None})
    process = lab.start("run", "job.yml", "--name", "r")
    lab.wait_until_running("r", 1)
    data = lab.folder / ".regiment/scratch/r/node-0-data/outputs/o/x"
    lab.wait_until(lambda: data.exists() and data.read_text() == "saved\n")
    os.kill(lab.show("r")["coordinator"]["pid"], 9)
    assert process.wait(GUARD) == 3
    lab.wait_until(lambda: not lab.processes())
    assert files(lab, "r") == {"o/x": "saved\n"}
    assert no_scratch(lab)


def test_outputs_of_a_lost_node_stay_where_they_are_and_that_is_told(lab: Lab) -> None:
    lab.write("data/a.txt", "x" * 100)
    inputs = {"d": {"path": "data", "mode": "download"}}
    write_job(lab, "echo $RANK > ${{outputs.o}}/x; sleep 3600", {"o": None}, nodes=2, inputs=inputs)
    process = lab.start("run", "job.yml", "--name", "r")
    scratch = lab.folder / ".regiment/scratch/r"
    written = [scratch / f"node-{n}-data/outputs/o/x" for n in (0, 1)]
    lab.wait_until(lambda: all(path.exists() and path.read_text() for path in written))
    os.kill(lab.show("r")["nodes"][1]["agentPid"], 9)
    assert process.wait(GUARD) == 3
    assert files(lab, "r") == {"o/x": "0\n"}
    left = {str(path.relative_to(scratch)) for path in scratch.rglob("*") if path.is_file()}
    assert left == {"node-1-data/outputs/o/x"}
    assert str(scratch / "node-1-data/outputs") in str(lab.show("r")["warnings"])


def test_an_output_that_is_called_like_a_node_is_refused(lab: Lab) -> None:
    write_job(lab, "true", {"node-1": None}, nodes=2)
    result = lab.run("run", "job.yml")
    assert result.returncode == 2
    assert "rename it" in result.stderr
    assert Path(lab.folder / ".regiment").exists() is False


DEEP = """\
import os
import subprocess
os.makedirs("outputs", exist_ok=True)
os.chdir("outputs")
for _ in range(1050):
    os.mkdir("d")
    os.chdir("d")
open("model", "w").close()
"""


@pytest.mark.slow
def test_folders_a_thousand_levels_deep_are_collected(lab: Lab) -> None:
    lab.write("src/deep.py", DEEP)
    lab.write("job.yml", yaml.safe_dump({"command": "python deep.py", "code": "src", "experiment_name": "e"}))
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    outputs = lab.run_folder("r") / "outputs"
    try:
        assert outputs.joinpath(*["d"] * 1050, "model").exists()
        assert no_scratch(lab)
    finally:
        # pytest's own way of removing folders calls itself for each level.
        subprocess.run(["rm", "-rf", str(lab.folder / ".regiment")], check=True)
