"""A run's time limit, however it was given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import ENDLESS, GUARD, Lab

JOB = {"command": f"sleep {ENDLESS}", "limits": {"timeout": 1}, "experiment_name": "e"}
RUNCONFIG = {"script": "train.py", "maxRunDurationSeconds": 1, "environment": {"python": {"interpreterPath": "python"}}}


@pytest.mark.parametrize(
    ("files", "arguments"),
    [
        ({"job.yml": yaml.safe_dump(JOB)}, ["job.yml"]),
        (
            {".azureml/x.runconfig": json.dumps(RUNCONFIG), "train.py": f"import time; time.sleep({ENDLESS})"},
            ["-c", "x", "train.py"],
        ),
    ],
    ids=["limits.timeout", "maxRunDurationSeconds"],
)
def test_a_run_ends_at_its_limit(lab: Lab, files: dict[str, str], arguments: list[str]) -> None:
    for name, text in files.items():
        lab.write(str(Path(name)), text)
    result = lab.run("run", "--name", "r", *arguments)
    assert result.returncode == 4, result.stderr
    assert "time limit of 1 s" in result.stderr
    assert lab.show("r")["status"] == "Canceled"


SUBMIT = f"""
from regiment import Experiment, ScriptRunConfig, Workspace

config = ScriptRunConfig("src", command=["sleep", "{ENDLESS}"], max_run_duration_seconds=1)
run = Experiment(Workspace.from_config(), "limits").submit(config)
run.wait_for_completion(raise_on_error=False)
print(run.get_status(), run.get_details()["error"])
"""


def test_a_run_submitted_from_python_ends_at_its_limit(lab: Lab) -> None:
    lab.write("src/keep.txt", "")
    (lab.folder / ".regiment").mkdir()
    program = lab.write("submit.py", SUBMIT)
    done = subprocess.run(
        [sys.executable, str(program)], cwd=lab.folder, env=lab.environ, capture_output=True, text=True, timeout=GUARD
    )
    assert done.stdout.startswith("Canceled"), done.stdout + done.stderr
    assert "time limit of 1 s" in done.stdout
