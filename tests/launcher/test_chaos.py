"""Two hundred random faults: the right verdict each time, and nothing left each time."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .chaos import Case, Trial, case_of, faults_of
from .conftest import open_lab

PARTS, CASES = 8, 25
AT_ONCE = 2
"""Runs side by side in one part: many of them wait for a lease or a grace."""


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_random_faults_get_the_right_verdict_and_leave_nothing(
    part: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    def outcome(case: Case) -> list[str]:
        folder = tmp_path / str(case.seed)
        folder.mkdir()
        with open_lab(folder) as lab:
            return faults_of(Trial(case, lab))

    started = time.monotonic()
    cases = [case_of(seed) for seed in range(part * CASES, (part + 1) * CASES)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(outcome, cases))
    wrong = [f"{case}: {'; '.join(faults)}" for case, faults in zip(cases, outcomes, strict=True) if faults]
    survivors = sum(fault.startswith("survivor") for faults in outcomes for fault in faults)
    record_property("chaos", (len(cases), len(cases) - len(wrong), survivors, time.monotonic() - started))
    assert not wrong, "\n".join(wrong)
