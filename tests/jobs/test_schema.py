"""The published schema says what the loader does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from jsonschema import Draft7Validator

from regiment.jobs.current_form import current_form
from regiment.jobs.errors import JobFileError
from regiment.jobs.loader import load_job
from regiment.jobs.schema import schema, schema_text
from regiment.jobs.spec import JobSpec
from tests.jobs.specs import specs

PUBLISHED = Path(__file__).parents[2] / "docs" / "job.schema.json"
VALIDATOR = Draft7Validator(schema())


def test_the_published_schema_is_up_to_date() -> None:
    assert PUBLISHED.read_text() == schema_text(), "write it anew: regiment schema > docs/job.schema.json"


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(schema())


@settings(max_examples=100)
@given(specs)
def test_it_takes_every_job_in_the_current_form(spec: JobSpec) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(current_form(spec))] == []


SWEEP = (
    "{type: sweep, trial: {command: x}, search_space: {a: {type: choice, values: [1]}}, objective: {primary_metric: m, "
)


@pytest.mark.parametrize(
    "text",
    [
        "{comand: x}",
        "{code: src}",
        "{command: x, comand: y}",
        "{command: 1}",
        "{command: ''}",
        "{command: x, resources: {instance_count: 0}}",
        "{command: x, resources: {instance_count: two}}",
        "{command: x, resources: {instances: 2}}",
        "{command: x, distribution: {process_count_per_instance: 2}}",
        "{command: x, distribution: {type: torch}}",
        "{command: x, distribution: {type: tensorflow, process_count_per_instance: 2}}",
        "{command: x, limits: {timeout: 0}}",
        "{command: x, inputs: {a: {mode: download, path: 'azureml:a:1', typ: uri_file}}}",
        "{command: x, inputs: {a: {mode: carry, path: 'azureml:a:1'}}}",
        "{command: x, inputs: [a]}",
        "{command: x, outputs: {a: 1}}",
        "{command: x, environment: 3}",
        "{command: x, environment: {img: x}}",
        "{command: x, regiment: {grace: -1}}",
        "{command: x, regiment: {start_method: forkserver}}",
        "{command: x, type: sweeep}",
        "{command: x, tags: [a]}",
        "{command: x, code: {directory: src}}",
        "{command: x, compute: {target: 'azureml:c', node_count: 2}}",
        "{type: sweep, command: x}",
        SWEEP + "goal: best}}",
        SWEEP + "goal: minimize}, sampling_algorithm: clever}",
        SWEEP + "goal: minimize}, early_termination: {type: bandit, slack: 1}}",
        SWEEP + "goal: minimize}, early_termination: {type: truncation_selection, truncation_percentage: 100}}",
    ],
)
def test_what_the_loader_refuses_the_schema_refuses_too(text: str, tmp_path: Path) -> None:
    data: Any = yaml.safe_load(text)
    (tmp_path / "job.yml").write_text(text)
    with pytest.raises(JobFileError):
        load_job(tmp_path / "job.yml", (), tmp_path, paths=False)
    assert not VALIDATOR.is_valid(data)


def test_an_editor_finds_descriptions_and_the_words_to_choose_from() -> None:
    command, sweep = schema()["anyOf"]
    keys = command["properties"]
    assert all(key.get("description") or key.get("doNotSuggest") for key in keys.values())
    assert "grid" in str(sweep["properties"]["sampling_algorithm"])
    pytorch = keys["distribution"]["anyOf"][0]["properties"]
    assert pytorch["type"]["anyOf"][0] == {"enum": ["pytorch"]}
