"""`regiment validate`, `regiment schema`, and what `run` says about jobs it cannot run yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regiment.jobs.schema import schema
from regiment.launcher.cli.main import main
from regiment.launcher.cli.parser import split_command

SWEEP = """\
type: sweep
trial: {command: "echo ${{search_space.x}}"}
search_space: {x: {type: choice, values: [1, 2]}}
objective: {primary_metric: m, goal: minimize}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, where nothing may appear."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_valid_file_is_one_line_and_no_workspace(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "job.yml").write_text("command: echo {inputs.a}\ninputs: {a: 1}\n")
    assert main(["validate", "job.yml"]) == 0
    assert capsys.readouterr().out == "job.yml: valid\n"
    assert [path.name for path in folder.iterdir()] == ["job.yml"]


def test_as_json_it_is_the_job_in_the_current_form(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "job.yml").write_text("command: echo {inputs.a}\ninputs: {a: 1}\ncompute: {target: azureml:c}\n")
    assert main(["validate", "job.yml", "-o", "json", "--set", "name=r"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "type": "command",
        "name": "r",
        "experiment_name": folder.name,
        "inputs": {"a": 1},
        "compute": "azureml:c",
        "command": "echo ${{inputs.a}}",
    }
    assert "single braces are deprecated" in captured.err
    assert main(["validate", "job.yml", "--query", "compute", "-o", "tsv"]) == 0
    assert capsys.readouterr().out == "azureml:c\n"


def test_paths_and_keys_given_twice_can_be_let_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "job.yml").write_text("command: python x.py\ncode: gone\ncompute: a\ncompute: b\n")
    assert main(["validate", "job.yml"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert main(["validate", "job.yml", "--no-paths", "--lenient"]) == 0


@pytest.mark.parametrize("kind", ["pipeline", "automl", "spark", "command_component"])
def test_other_types_are_one_sentence_and_exit_status_2(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "job.yml").write_text(f"type: {kind}\njobs: {{}}\nsettings: 1\n")
    assert main(["validate", "job.yml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("Regiment runs jobs of the types command and sweep")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (SWEEP, "running a sweep is not supported yet"),
        ("command: x\ncode: azureml:mycode:1\n", "lies in Azure"),
        ("command: x\ndistribution: {type: ray}\n", "running the distribution type 'ray' is not supported yet"),
    ],
)
def test_what_cannot_be_run_yet_is_valid_but_not_run(
    text: str, wanted: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "job.yml").write_text(text)
    assert main(["validate", "job.yml"]) == 0
    assert main(["plan", "job.yml"]) == 2
    assert wanted in capsys.readouterr().err


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()


def test_with_c_the_command_begins_at_the_script() -> None:
    own, command = split_command(["run", "-c", "sklearn", "--nodes", "2", "train.py", "--lr", "0.1", "-c", "x.py"])
    assert (own, command) == (["run", "-c", "sklearn", "--nodes", "2"], ["train.py", "--lr", "0.1", "-c", "x.py"])
    assert split_command(["run", "-c", "x"]) == (["run", "-c", "x"], None)
    assert split_command(["run", "-c", "x", "--", "go", "1"]) == (["run", "-c", "x"], ["go", "1"])
    assert split_command(["run", "job.yml", "--name", "x.py"]) == (["run", "job.yml", "--name", "x.py"], None)


def test_a_run_configuration_is_planned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "train.py").touch()
    (folder / "x.runconfig").write_text("script: train.py\ntarget: local\n")
    assert main(["plan", "-c", "x", "train.py", "--lr", "0.1"]) == 0
    assert "python train.py --lr 0.1" in capsys.readouterr().out
    assert main(["plan", "-c", "y", "train.py"]) == 2
    assert "there is no .azureml/y.runconfig" in capsys.readouterr().err
    assert main(["plan", "-c", "x", "job.yml"]) == 2
    assert "-c takes a script, not a job file (job.yml)" in capsys.readouterr().err
