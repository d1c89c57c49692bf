"""Names of data and compute targets, and what `plan` and `run` say to those nobody knows."""

from __future__ import annotations

import json
import os

import pytest
import yaml

from .conftest import Lab

ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"


def write_job(lab: Lab, command: str = "echo hi", **more: object) -> None:
    lab.write("job.yml", yaml.safe_dump({"command": command, "experiment_name": "e", **more}))


def ok(lab: Lab, *arguments: str) -> str:
    result = lab.run(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


# --- compute ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("compute", ["azureml:gpu-cluster", "gpu-cluster", f"azureml:{ARM}/computes/gpu-cluster"])
def test_a_real_file_runs_unmodified_once_its_target_has_a_name(lab: Lab, compute: str) -> None:
    write_job(lab, compute=compute)
    for command in ("plan", "run"):
        result = lab.run(command, "job.yml")
        assert result.returncode == 2
        assert "no compute target 'gpu-cluster'" in result.stderr
        assert "'regiment compute add gpu-cluster --type local'" in result.stderr
        assert "--compute local" in result.stderr
    ok(lab, "validate", "job.yml")
    ok(lab, "run", "job.yml", "--compute", "azureml:local")
    ok(lab, "compute", "add", "gpu-cluster", "--type", "local")
    ok(lab, "run", "job.yml", "--name", "r")
    assert lab.show("r")["target"] == "gpu-cluster"


def test_compute_targets_are_listed_shown_and_removed(lab: Lab) -> None:
    ok(lab, "compute", "add", "gpu-cluster", "--type", "local")
    listed = json.loads(ok(lab, "compute", "list", "-o", "json"))
    assert listed == [{"name": "local", "type": "local"}, {"name": "gpu-cluster", "type": "local"}]
    assert ok(lab, "compute", "show", "gpu-cluster", "--query", "type", "-o", "tsv") == "local\n"
    ok(lab, "compute", "remove", "gpu-cluster")
    assert ok(lab, "compute", "list", "--query", "[].name", "-o", "tsv") == "local\n"
    assert lab.run("compute", "remove", "gpu-cluster").returncode == 2
    assert lab.run("compute", "remove", "local").returncode == 2


@pytest.mark.parametrize(("name", "kind"), [("x", "kubernetes"), ("local", "local"), ("../x", "local")])
def test_what_cannot_be_a_compute_target_is_refused_in_a_sentence(lab: Lab, name: str, kind: str) -> None:
    result = lab.run("compute", "add", name, "--type", kind)
    assert result.returncode == 2
    assert result.stderr.startswith("regiment: ") and result.stderr.count("\n") == 1
    assert not (lab.folder / ".regiment").exists()


# --- data -------------------------------------------------------------------------------------------


def test_named_data_is_found_by_version_and_by_latest(lab: Lab) -> None:
    lab.write("one.csv", "1\n")
    lab.write("two/2.csv", "2\n")
    ok(lab, "data", "add", "iris", "--path", "one.csv")
    ok(lab, "data", "add", "iris", "--path", "two")
    assert ok(lab, "data", "list", "--query", "[].[name, version, kind]", "-o", "tsv") == "iris\t2\turi_folder\n"
    assert ok(lab, "data", "list", "iris", "--query", "[].version", "-o", "tsv") == "1\n2\n"
    assert (
        ok(lab, "data", "show", "iris", "--version", "1", "--query", "path", "-o", "tsv") == f"{lab.folder}/one.csv\n"
    )
    inputs = {
        "old": {"path": "azureml:iris:1"},
        "new": {"path": "azureml:iris@latest"},
        "arm": {"path": f"azureml:{ARM}/data/iris/versions/1"},
    }
    write_job(lab, "cat ${{inputs.old}} ${{inputs.new}}/2.csv ${{inputs.arm}}", inputs=inputs)
    assert ok(lab, "run", "job.yml") == "1\n2\n1\n"


def test_versions_are_never_replaced(lab: Lab) -> None:
    lab.write("a.csv", "")
    ok(lab, "data", "add", "iris", "--path", "a.csv", "--version", "7")
    result = lab.run("data", "add", "iris", "--path", "a.csv", "--version", "7")
    assert (result.returncode, "iris:7 already" in result.stderr) == (2, True)
    ok(lab, "data", "add", "iris", "--path", "a.csv")
    assert ok(lab, "data", "show", "iris", "--query", "version", "-o", "tsv") == "8\n"


def test_entries_are_whole_files_and_nothing_else_is_left_beside_them(lab: Lab) -> None:
    lab.write("a.csv", "")
    started = [lab.start("data", "add", "iris", "--path", "a.csv") for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4
    assert sorted(os.listdir(lab.folder / ".regiment/data/iris")) == ["1.json", "2.json", "3.json", "4.json"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("azureml:nobody:1", "no data asset 'nobody'"),
        ("azureml:iris:9", "no version '9', its versions are 1"),
        ("azureml:iris@newest", "@latest"),
    ],
)
def test_unknown_data_is_named_with_the_way_to_add_it_and_to_do_without(lab: Lab, path: str, words: str) -> None:
    lab.write("a.csv", "")
    ok(lab, "data", "add", "iris", "--path", "a.csv")
    write_job(lab, inputs={"d": {"path": path}})
    ok(lab, "validate", "job.yml")
    for command in ("plan", "run"):
        result = lab.run(command, "job.yml")
        assert result.returncode == 2
        assert words in result.stderr and "--input d=PATH" in result.stderr
    assert not (lab.folder / ".regiment/runs").exists()


@pytest.mark.parametrize(("name", "path", "version"), [("x", "nowhere", "1"), ("a/b", ".", "1"), ("x", ".", "a b")])
def test_what_cannot_be_named_is_refused_in_a_sentence(lab: Lab, name: str, path: str, version: str) -> None:
    result = lab.run("data", "add", name, "--path", path, "--version", version)
    assert result.returncode == 2
    assert result.stderr.startswith("regiment: ") and result.stderr.count("\n") == 1


# --- --input ----------------------------------------------------------------------------------------


def test_input_flags_go_over_the_file(lab: Lab) -> None:
    lab.write("mine/a.txt", "mine\n")
    write_job(lab, "echo ${{inputs.lr}}; cat ${{inputs.d}}/a.txt", inputs={"d": {"path": "azureml:x:1"}, "lr": 0.1})
    assert ok(lab, "run", "job.yml", "--input", "d=mine", "--input", "lr=0.20") == "0.20\nmine\n"


def test_an_input_flag_for_no_input_names_those_there_are(lab: Lab) -> None:
    write_job(lab, inputs={"data": {"path": "."}})
    result = lab.run("run", "job.yml", "--input", "dat=.")
    assert result.returncode == 2
    assert "did you mean 'data'?" in result.stderr
    assert lab.run("run", "job.yml", "--input", "data").returncode == 2


def test_a_command_has_the_inputs_it_is_given(lab: Lab) -> None:
    lab.write("my data/a.txt", "hi\n")
    assert (
        ok(lab, "run", "--input", "d=my data", "--", "cat", "${{inputs.d}}/a.txt", "${{inputs.d}}/a.txt") == "hi\nhi\n"
    )


def test_expressions_in_a_command_without_inputs_are_left_alone(lab: Lab) -> None:
    assert ok(lab, "run", "--", "echo", "${{inputs.d}}") == "${{inputs.d}}\n"


# --- plan, and what cannot be started ---------------------------------------------------------------


def test_a_plan_shows_inputs_outputs_and_the_command_as_it_will_be(lab: Lab) -> None:
    lab.write("data/a.txt", "")
    url = "https://example.org/a.csv?sig=geheim"
    inputs = {"d": {"path": "data"}, "u": {"path": url, "type": "uri_file", "mode": "download"}, "lr": 0.1}
    write_job(
        lab, "train ${{inputs.d}} ${{inputs.u}} ${{inputs.lr}} ${{outputs.m}}", inputs=inputs, outputs={"m": None}
    )
    text = ok(lab, "plan", "job.yml")
    assert f"input d: {lab.folder}/data -> {{data of node-0}}/inputs/d (ro_mount)" in text
    assert "input u: https://example.org/a.csv?... -> {data of node-0}/inputs/u/a.csv (download)" in text
    assert "output m: {data of node-0}/outputs/m -> outputs/m" in text
    node = json.loads(ok(lab, "plan", "job.yml", "-o", "json"))["nodes"][0]
    assert node["processes"][0]["argv"][-1].startswith("train '{data of node-0}/inputs/d'")
    assert "geheim" not in text


def test_what_cannot_be_started_yet_is_refused_by_plan_and_run_only(lab: Lab) -> None:
    write_job(lab, distribution={"type": "ray"})
    ok(lab, "validate", "job.yml")
    for command in ("plan", "run"):
        result = lab.run(command, "job.yml")
        assert result.returncode == 2
        assert "running the distribution type 'ray' is not supported yet" in result.stderr


def test_a_value_that_no_quoting_holds_is_refused_before_anything_is_made(lab: Lab) -> None:
    write_job(lab, "echo `echo ${{inputs.x}}`", inputs={"x": "a b"})
    result = lab.run("run", "job.yml")
    assert result.returncode == 2
    assert "${{inputs.x}}" in result.stderr
    assert not (lab.folder / ".regiment").exists()
