"""What is to be run, as objects: what they mean as a run configuration, saved and loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from regiment import (
    ComputeTarget,
    DockerConfiguration,
    Environment,
    Experiment,
    MpiConfiguration,
    PyTorchConfiguration,
    RunConfiguration,
    ScriptRunConfig,
    TensorflowConfiguration,
    UserError,
    Workspace,
)
from regiment.jobs.registry import Compute, add_compute
from regiment.jobs.spec import Distribution, JobSpec, Mpi, Plain, PyTorch, ShellCommand, TensorFlow
from regiment.jobs.workspace import Workspace as WorkspaceFolder
from regiment.launcher.operations import SubmitScript
from regiment.launcher.submitted import spec_of


def spec(folder: Path, **config: Any) -> JobSpec:
    for name in ("train.py", "src/train.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    config = {"script": "train.py", **config}
    keys = ScriptRunConfig(folder, **config).runconfig()
    return spec_of(SubmitScript(keys, str(folder), "explore-runs"))[0]


def command(found: JobSpec) -> str:
    assert isinstance(found.command, ShellCommand)
    return found.command.text


@pytest.mark.parametrize(
    ("wanted", "nodes", "distribution"),
    [
        (None, 1, Plain()),
        (MpiConfiguration(process_count_per_node=2, node_count=2), 2, Mpi(2)),
        (PyTorchConfiguration(process_count=8, node_count=4), 4, PyTorch(2)),
        (PyTorchConfiguration("Gloo", node_count=3), 3, PyTorch()),
        (TensorflowConfiguration(worker_count=2, parameter_server_count=1), 2, TensorFlow(2, 1)),
        (TensorflowConfiguration(worker_count=3, parameter_server_count=0), 3, TensorFlow(3, 0)),
    ],
)
def test_a_distributed_job_configuration_says_how_many_of_what(
    tmp_path: Path, wanted: Any, nodes: int, distribution: Distribution
) -> None:
    found = spec(tmp_path, distributed_job_config=wanted)
    assert (found.instance_count, found.distribution) == (nodes, distribution)


def test_arguments_become_text_and_the_folder_is_the_code(tmp_path: Path) -> None:
    found = spec(tmp_path, arguments=["--lr", 0.1, "--epochs", 3, "--out", Path("o u t"), "$LOCAL_RANK"])
    assert command(found) == "python train.py --lr 0.1 --epochs 3 --out 'o u t' \"$LOCAL_RANK\""
    assert found.code == str(tmp_path)
    with pytest.raises(UserError, match="argument \\{\\} is a dict"):
        ScriptRunConfig(".", script="train.py", arguments=[{}])


def test_time_python_and_variables_come_along(tmp_path: Path) -> None:
    environment = Environment("mine")
    environment.python.interpreter_path = "/opt/python"
    environment.environment_variables = {"A": "1"}
    config = RunConfiguration()
    config.environment_variables = {"B": "2"}
    found = spec(tmp_path, run_config=config, environment=environment, max_run_duration_seconds=60)
    assert found.timeout == 60
    assert found.environment is not None
    assert found.environment.name == "mine"
    assert found.environment_variables == {"A": "1", "B": "2"}
    assert command(found) == "/opt/python train.py"
    assert spec(tmp_path).timeout == 30 * 24 * 3600


def test_a_command_takes_the_place_of_a_script(tmp_path: Path) -> None:
    assert command(spec(tmp_path, script=None, command="echo $RANK")) == "echo $RANK"
    assert command(spec(tmp_path, script=None, command=["python", "train.py", "--lr", 1])) == "python train.py --lr 1"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"script": "train.py", "command": "true"}, "not both"),
        ({}, "needs a script or a command"),
        ({"script": "train.py", "resume_from": object()}, "resume_from is not supported"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ScriptRunConfig(".", **wrong)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"script": "other.py"}, "there is no 'other.py'"),
        ({"distributed_job_config": PyTorchConfiguration(process_count=3, node_count=2)}, "multiple of 2"),
        ({"max_run_duration_seconds": -1}, "maxRunDurationSeconds"),
    ],
)
def test_what_cannot_run_is_told_without_lines_of_a_file_that_there_is_not(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        spec(tmp_path, **config)
    assert str(caught.value).startswith("ScriptRunConfig: ")


def test_a_compute_target_is_given_by_name_or_as_it_is(tmp_path: Path) -> None:
    target = ComputeTarget("gpu-cluster", "local")
    config = ScriptRunConfig(tmp_path, script="train.py")
    config.run_config.target = target
    assert config.runconfig()["target"] == "gpu-cluster"
    assert spec(tmp_path, compute_target=target).compute == spec(tmp_path, compute_target="gpu-cluster").compute


def test_a_configuration_is_copied_into_the_script(tmp_path: Path) -> None:
    config = RunConfiguration()
    ScriptRunConfig(tmp_path, script="train.py", run_config=config, distributed_job_config=MpiConfiguration(4))
    assert config == RunConfiguration()


def test_a_saved_configuration_is_loaded_as_it_was(tmp_path: Path) -> None:
    config = RunConfiguration(script="train.py", arguments=["--lr", 0.1], communicator="Nccl", framework="PyTorch")
    config.pytorch.process_count, config.node_count, config.pytorch.node_count = 4, 2, 2
    config.environment = Environment("mine", "3", {"A": "1"})
    config.environment.docker.base_image = "ubuntu"
    config.docker = DockerConfiguration(use_docker=True, shm_size="2g")
    config.others = {"history": {"outputCollection": True}}
    config.mpi.node_count = 2
    path = config.save(tmp_path, "sklearn")
    assert path == str(tmp_path / ".azureml" / "sklearn.runconfig")
    config.arguments = ["--lr", "0.1"]
    assert RunConfiguration.load(tmp_path, "sklearn") == RunConfiguration.load(path) == config


def test_a_configuration_file_may_be_json(tmp_path: Path) -> None:
    file = tmp_path / "a.runconfig"
    file.write_text(json.dumps({"script": "train.py", "nodeCount": 2, "communicator": "Mpi", "target": None}))
    assert (RunConfiguration.load(file).node_count, RunConfiguration.load(file).target) == (2, "local")
    file.write_text("[1]")
    with pytest.raises(UserError, match="no keys"):
        RunConfiguration.load(file)
    with pytest.raises(UserError, match=r"there is no .*other\.runconfig"):
        RunConfiguration.load(tmp_path, "other")
    with pytest.raises(UserError, match="needs a name"):
        RunConfiguration().save(tmp_path)


def test_environments_are_only_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert Environment.get(workspace, name="AzureML-Minimal").name == "AzureML-Minimal"
    conda = Environment.from_conda_specification("mine", str(tmp_path / "environment.yml"))
    assert conda.python.conda_dependencies_file == str(tmp_path / "environment.yml")


def test_a_target_that_programs_cannot_submit_to_is_refused_and_nothing_runs_here_instead(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    folder = WorkspaceFolder(tmp_path / ".regiment")
    add_compute(folder, Compute("cluster", "kubernetes"))
    config = ScriptRunConfig(source_directory=str(tmp_path), script="train.py", compute_target="cluster")
    with pytest.raises(UserError, match="type kubernetes, which programs and jobs cannot submit to yet"):
        Experiment(Workspace(folder.root), "e").submit(config)
    assert not list(folder.runs.glob("*"))
