"""A job written down in the current form loads to itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from regiment.jobs.current_form import current_form
from regiment.jobs.data import LiteralInput
from regiment.jobs.dataclass import replace
from regiment.jobs.loader import load_job
from regiment.jobs.plain import from_plain, to_plain
from regiment.jobs.spec import ArgvCommand, JobSpec, PyTorch
from tests.jobs.specs import FOLDER, specs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


def load(text: str, folder: Path) -> JobSpec:
    (folder / "job.yml").write_text(text, encoding="utf-8")
    spec = load_job(folder / "job.yml", (), folder, paths=False).spec
    return replace(spec, working_folder=str(FOLDER)) if spec.working_folder else spec


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(spec=specs)
def test_a_job_in_the_current_form_loads_to_itself(spec: JobSpec, folder: Path) -> None:
    written = current_form(spec)
    assert load(yaml.safe_dump(written, sort_keys=False, allow_unicode=True), folder) == spec
    assert load(json.dumps(written, ensure_ascii=False), folder) == spec
    assert from_plain(JobSpec, json.loads(json.dumps(to_plain(spec)))) == spec


def test_a_file_in_the_current_form_is_printed_as_it_is(folder: Path) -> None:
    text = """\
type: command
experiment_name: digits
inputs:
  rate: '0.10'
  data:
    type: uri_folder
    path: azureml:mnist:1
    mode: download
compute: azureml:gpu-cluster
resources:
  instance_count: 2
command: python train.py --lr ${{inputs.rate}} --data ${{inputs.data}}
environment: azureml:torch@latest
distribution:
  type: pytorch
  process_count_per_instance: 4
limits:
  timeout: 3600
"""
    assert yaml.safe_dump(current_form(load(text, folder)), sort_keys=False, width=200) == text


@pytest.mark.parametrize("text", ["0.10", "1e-5", "yes", "0x1F", "1_000", "2021-01-01", "1.0e-5"])
def test_a_value_comes_to_the_command_as_it_was_written(text: str, folder: Path) -> None:
    spec = load(f"command: echo\ninputs: {{x: {text}}}\n", folder)
    again = load(json.dumps(current_form(spec)), folder)
    for found in (spec.inputs["x"], again.inputs["x"]):
        assert isinstance(found, LiteralInput)
        assert found.text == text


def test_an_argv_is_written_as_a_shell_would_read_it() -> None:
    spec = JobSpec(command=ArgvCommand(("python", "a b.py", "it's")), experiment_name="exp")
    assert current_form(spec) == {
        "type": "command",
        "experiment_name": "exp",
        "command": "python 'a b.py' 'it'\"'\"'s'",
        "compute": "local",
    }
    assert current_form(replace(spec, distribution=PyTorch()))["distribution"] == {"type": "pytorch"}
