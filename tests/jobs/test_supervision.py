"""Restarts, early exits and preemption in a job file."""

from __future__ import annotations

from pathlib import Path

import pytest

from regiment.jobs.current_form import current_form
from regiment.jobs.errors import JobFileError
from regiment.jobs.loader import load_job
from regiment.jobs.spec import EarlyExit, Options, Restarts


def options(folder: Path, keys: str) -> Options:
    file = folder / "job.yml"
    file.write_text(f"command: x\nregiment: {{{keys}}}\n")
    return load_job(file, [], folder).spec.options


def test_a_number_of_restarts_is_for_every_kind_of_cause(tmp_path: Path) -> None:
    assert options(tmp_path, "restarts: 3").restarts == Restarts(max=3)


def test_more_can_be_said_about_restarts(tmp_path: Path) -> None:
    keys = "max: 2, infrastructure: 9, refill: 60, backoff: 0.5, max_backoff: 4, progress: 10"
    found = options(tmp_path, f"restarts: {{{keys}}}").restarts
    assert found == Restarts(max=2, infrastructure=9, refill=60.0, backoff=0.5, max_backoff=4.0, progress=10.0)


def test_early_exits_and_the_grace_of_a_preemption_are_read(tmp_path: Path) -> None:
    found = options(tmp_path, "early_exit: {fail: 600}, preemption_grace: 90")
    assert (found.early_exit, found.preemption_grace) == (EarlyExit(warn=30.0, fail=600.0), 90.0)


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("restarts: often", "regiment.restarts: expected a whole number"),
        ("restarts: {max: -1}", "regiment.restarts.max: expected 0 to 1,000,000 restarts, found -1"),
        ("restarts: {maxi: 1}", "regiment.restarts.maxi: unknown key; did you mean 'max'?"),
        ("restarts: [3]", "regiment.restarts: expected a number of restarts, or a mapping with max and others"),
        ("restarts: {backoff: -2}", "regiment.restarts.backoff: expected 0 seconds or more, found -2"),
        ("early_exit: 30", "regiment.early_exit: expected a mapping"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, keys: str, complaint: str) -> None:
    with pytest.raises(JobFileError) as error:
        options(tmp_path, keys)
    assert complaint in str(error.value)


def test_the_current_form_says_what_was_changed_and_no_more(tmp_path: Path) -> None:
    for keys, shown in {
        "restarts: {max: 3}": {"restarts": 3},
        "restarts: {max: 3, backoff: 5}": {"restarts": {"max": 3, "backoff": 5.0}},
        "restarts: {infrastructure: 2}": {"restarts": {"infrastructure": 2}},
        "early_exit: {warn: 30}": None,
    }.items():
        options(tmp_path, keys)
        assert current_form(load_job(tmp_path / "job.yml", [], tmp_path).spec).get("regiment") == shown
