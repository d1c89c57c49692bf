"""`regiment init`, and the ready jobs that it copies."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from regiment import jobs

from .conftest import Lab

EXAMPLES = Path(next(iter(jobs.__path__))) / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/job.yml"))


def contents(folder: Path) -> dict[str, bytes]:
    files = {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_without_a_name_it_lists_every_ready_job_with_its_description(lab: Lab) -> None:
    for arguments in ((), ("--list",), ("hello-world", "--list")):
        result = lab.run("init", *arguments, "-o", "json")
        assert result.returncode == 0, result.stderr
        rows = json.loads(result.stdout)
        assert [row["name"] for row in rows] == NAMES
        for row in rows:
            assert row["description"] == yaml.safe_load((EXAMPLES / row["name"] / "job.yml").read_text())["description"]
    table = lab.run("init")
    assert "Every process says who it is" in table.stdout
    assert "regiment init NAME" in table.stderr
    assert list(lab.folder.iterdir()) == [], "listing makes nothing"


def test_a_ready_job_is_copied_into_a_folder_of_its_name(lab: Lab) -> None:
    result = lab.run("init", "hello-world")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "hello-world\n"
    assert "cd hello-world && regiment run job.yml" in result.stderr
    assert contents(lab.folder) == {f"hello-world/{k}": v for k, v in contents(EXAMPLES / "hello-world").items()}


def test_a_copy_runs_from_a_folder_with_any_name(lab: Lab) -> None:
    result = lab.run("init", "hello-world", "here and/there")
    assert result.returncode == 0, result.stderr
    assert "cd 'here and/there' && regiment run job.yml" in result.stderr
    result = lab.run("run", "here and/there/job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    for rank in range(4):
        greeting = f"hello from rank {rank} of 4: process {rank % 2} of node {rank // 2}"
        assert greeting in result.stdout
        assert (lab.run_folder("r") / "outputs" / f"hello-{rank}.txt").read_text() == f"{greeting}\n"


def test_an_empty_folder_is_filled(lab: Lab) -> None:
    (lab.folder / "mine").mkdir()
    assert lab.run("init", "hello-world", "mine").returncode == 0
    assert contents(lab.folder / "mine") == contents(EXAMPLES / "hello-world")


def test_what_is_there_already_is_left_as_it_is(lab: Lab) -> None:
    lab.write("hello-world/job.yml", "mine")
    lab.write("a-file", "mine")
    (lab.folder / "nowhere").symlink_to("gone")
    before = contents(lab.folder)
    for target, fault in (
        ("hello-world", "is there already, with files in it"),
        ("a-file", "is there already and no folder"),
        ("nowhere", "is there already and no folder"),
    ):
        result = lab.run("init", "hello-world", target)
        assert result.returncode == 2
        assert result.stdout == ""
        assert f"{target} {fault}" in result.stderr
        assert "regiment init hello-world FOLDER" in result.stderr
    assert contents(lab.folder) == before


def test_a_folder_below_a_file_is_refused_in_one_sentence(lab: Lab) -> None:
    lab.write("a-file", "mine")
    result = lab.run("init", "hello-world", "a-file/below")
    assert result.returncode == 2
    assert result.stderr.startswith("regiment: cannot write a-file/below: Not a directory")


def test_an_unknown_name_names_the_nearest(lab: Lab) -> None:
    result = lab.run("init", "pytorch_dpp")
    assert result.returncode == 2
    assert "there is no ready job 'pytorch_dpp'; did you mean 'pytorch-ddp'?" in result.stderr
    result = lab.run("init", "../examples")
    assert result.returncode == 2
    assert not os.listdir(lab.folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_job_is_valid_and_described(lab: Lab, name: str) -> None:
    job = yaml.safe_load((EXAMPLES / name / "job.yml").read_text())
    assert job["description"].endswith(".") and job["experiment_name"] == name
    assert f"[{name}]({name}/job.yml)" in (EXAMPLES / "README.md").read_text()
    result = lab.run("validate", str(EXAMPLES / name / "job.yml"))
    assert result.returncode == 0, result.stderr
