"""Every real job file loads, or is refused for the reason that is expected."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from regiment.jobs.current_form import current_form
from regiment.jobs.errors import JobFileError
from regiment.jobs.loader import load_job
from regiment.jobs.reading import Value
from regiment.jobs.runconfig import is_runconfig
from regiment.jobs.schema import schema
from regiment.jobs.shapes import plain_data
from regiment.jobs.source import parse_job, read_text
from regiment.jobs.tree import Section, Source
from tests.jobs.corpus import FOLDER, File, corpus, expected_refusal

FILES = corpus()

if FILES:  # without the corpus there is nothing to test, and nothing to skip

    @pytest.mark.parametrize("file", FILES, ids=lambda file: file.path)
    def test_a_real_file_loads_or_is_refused_as_expected(file: File, tmp_path: Path) -> None:
        path, expected = FOLDER / file.path, expected_refusal(file)
        if expected is not None:
            with pytest.raises(JobFileError) as caught:
                load_job(path, (), tmp_path, paths=False)
            (fault,) = str(caught.value).splitlines()
            assert expected in fault
            return
        job = load_job(path, (), tmp_path, paths=False)
        written = tmp_path / "job.yml"
        written.write_text(json.dumps(current_form(job.spec), ensure_ascii=False), encoding="utf-8")
        again = load_job(written, (), tmp_path, paths=False)
        assert current_form(again.spec) == current_form(job.spec)

    def test_the_schema_takes_every_job_file_that_loads() -> None:
        from jsonschema import Draft7Validator

        validator = Draft7Validator(schema())
        seen: Counter[bool] = Counter()
        for file in FILES:
            source = _parse(file)
            if expected_refusal(file) or source is None or is_runconfig(source):
                continue
            errors = [error.message for error in validator.iter_errors(_plain(source))]
            assert errors == [], file.path
            seen[True] += 1
        assert seen[True] > 450

    def test_the_schema_refuses_the_files_that_are_refused() -> None:
        from jsonschema import Draft7Validator

        validator = Draft7Validator(schema())
        # What only reading the command can tell, the schema does not know.
        taken = [
            file.path
            for file in FILES
            if (expected := expected_refusal(file)) and (source := _parse(file)) is not None
            if "stands for nothing" not in expected and validator.is_valid(_plain(source))
        ]
        assert taken == []


def _parse(file: File) -> Section | None:
    source: Source = parse_job(read_text(FOLDER / file.path, file.path), file.path)
    return source.tree if isinstance(source.tree, Section) and not source.faults else None


def _plain(tree: Section) -> Any:
    return plain_data(Value(tree, tree.place, ""))
