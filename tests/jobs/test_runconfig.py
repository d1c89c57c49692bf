"""Run configurations of the first version of Azure ML."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regiment.jobs.errors import JobFileError, UserError
from regiment.jobs.loader import load_job, load_runconfig
from regiment.jobs.runconfig import shell_word
from regiment.jobs.runconfig_files import find_runconfig
from regiment.jobs.spec import Distribution, Environment, JobSpec, Mpi, Plain, PyTorch, ShellCommand, TensorFlow


def load(folder: Path, keys: dict[str, Any], script: str | None = "train.py", *arguments: str) -> JobSpec:
    (folder / "train.py").touch()
    (folder / ".azureml").mkdir(exist_ok=True)
    (folder / ".azureml/x.runconfig").write_text(json.dumps(keys))
    return load_runconfig(find_runconfig("x", folder), script, arguments, (), folder).spec


def test_everything_that_counts_arrives(tmp_path: Path) -> None:
    python = {"interpreterPath": "python3", "condaDependenciesFile": "conda.yml", "userManagedDependencies": False}
    docker = {"enabled": True, "baseImage": "base:1", "baseImageRegistry": {"address": None}, "shmSize": "1g"}
    keys = {
        "script": "other.py",
        "arguments": ["--ignored"],
        "target": "cpu",
        "framework": "Python",
        "communicator": "None",
        "maxRunDurationSeconds": 60,
        "nodeCount": 2,
        "environment": {"name": None, "environmentVariables": {"A": 1}, "python": python, "docker": docker},
        "history": {"outputCollection": True},
        "dataReferences": {},
        "mpi": {"processCountPerNode": 1},
    }
    assert load(tmp_path, keys, "train.py", "--lr", "0.1", "a b") == JobSpec(
        command=ShellCommand("python3 train.py --lr 0.1 'a b'"),
        experiment_name=tmp_path.name,
        code=str(tmp_path),
        environment=Environment(image="base:1", conda_file=str(tmp_path / "conda.yml")),
        environment_variables={"A": "1"},
        compute="cpu",
        instance_count=2,
        timeout=60.0,
    )


def test_the_file_s_own_script_and_arguments_run_where_no_other_is_given(tmp_path: Path) -> None:
    keys = {"script": "train.py", "arguments": ["--rank", "$LOCAL_RANK"], "command": "python"}
    assert load(tmp_path, keys, None).command == ShellCommand('python train.py --rank "$LOCAL_RANK"')
    assert load_job(Path(".azureml/x.runconfig"), (), tmp_path).spec == load(tmp_path, keys, None)


def test_a_script_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match=r"runconfig:1: there is no 'gone.py' in "):
        load(tmp_path, {"target": "local"}, "gone.py")
    with pytest.raises(JobFileError, match=r"there is no script to run; name one: regiment run -c NAME train.py"):
        load(tmp_path, {"target": "local"}, None)


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({"communicator": "None"}, Plain()),
        ({"communicator": "Mpi", "mpi": {"processCountPerNode": 3}}, Mpi(3)),
        ({"communicator": "OpenMpi"}, Mpi(1)),
        ({"communicator": "IntelMpi"}, Mpi(1)),
        (
            {"communicator": "ParameterServer", "tensorflow": {"workerCount": 1, "parameterServerCount": 1}},
            TensorFlow(1, 1),
        ),
        ({"communicator": "Nccl", "framework": "PyTorch", "pytorch": {"processCount": 8}}, PyTorch(4)),
        ({"communicator": "Gloo"}, PyTorch()),
    ],
)
def test_the_communicator_says_which_framework_it_is(
    tmp_path: Path, keys: dict[str, Any], wanted: Distribution
) -> None:
    assert load(tmp_path, {"nodeCount": 2, **keys}).distribution == wanted


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({"communicator": "Mpii"}, "communicator: unknown value 'Mpii'; did you mean 'mpi'?"),
        ({"framework": "PySpark"}, "framework: 'pyspark' is not supported; run a Python program"),
        ({"nodeCont": 2}, "nodeCont: unknown key; did you mean 'nodeCount'?"),
        ({"nodeCount": 0}, "nodeCount: expected at least 1, found 0"),
        (
            {"nodeCount": 2, "communicator": "Nccl", "pytorch": {"processCount": 3}},
            "pytorch: 3 processes over 2 nodes are 1.50 each; processCount counts all nodes together",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, keys: dict[str, Any], wanted: str) -> None:
    with pytest.raises(JobFileError) as caught:
        load(tmp_path, keys)
    assert str(caught.value).startswith(f".azureml/x.runconfig:1: {wanted}")


def test_a_name_is_looked_for_in_three_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.azureml/a\.runconfig, \.regiment/a\.runconfig or a\.runconfig;"):
        find_runconfig("a", tmp_path)
    for folder in (".", ".regiment", ".azureml"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "a.runconfig").touch()
        assert find_runconfig("a", tmp_path) == Path(folder) / "a.runconfig"
    assert find_runconfig("a.runconfig", tmp_path) == Path("a.runconfig")
    with pytest.raises(UserError, match=r"there is no file b\.runconfig; check the path given to -c"):
        find_runconfig("b.runconfig", tmp_path)


@settings(max_examples=50)
@given(st.text("ab '\"\\$`();&|#*~\n{}", max_size=10))
def test_arguments_come_whole_with_their_variables_filled_in(text: str) -> None:
    word = f"{text}-$RANK-${{RANK}}-"
    result = subprocess.run(
        ["sh", "-c", f"printf %s {shell_word(word)}"], capture_output=True, text=True, env={"RANK": "3"}
    )
    expected = word.replace("${RANK}", "3").replace("$RANK", "3")
    for name in ("${a}", "${b}", "$a", "$b"):  # other variables are variables too
        if name in word:
            return
    assert result.stdout == expected
