"""Job files with bytes changed, words exchanged and lines moved: they load, or have faults, and take no second."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from regiment.jobs.current_form import current_form
from regiment.jobs.errors import JobFileError
from regiment.jobs.loader import load_job
from regiment.jobs.plain import from_plain, to_plain
from regiment.jobs.spec import JobSpec
from tests.jobs import test_forms, test_loader
from tests.timing import fastest

RUNCONFIG = """\
{"script": "train.py", "communicator": "Mpi", "nodeCount": 2, "mpi": {"processCountPerNode": 2},
 "arguments": ["--a", 1], "target": "c", "environment": {"python": {"condaDependencies": {"dependencies": ["x"]}}}}
"""
SEEDS = (
    test_loader.FULL,
    test_forms.TODAY,
    test_forms.AUTUMN_2021,
    test_forms.MAY_2021,
    test_forms.SWEEP,
    test_forms.SWEEP_OF_2021 + test_forms.SWEEP[test_forms.SWEEP.index("search_space:") :],
    RUNCONFIG,
)
PIECES = ["\n", "  ", "- ", ": ", "[", "]", "{", "}", "&a ", "*a", "<<: *a", "!!x ", "'", '"', "|\n", "\t", "\0", "é"]
PIECES += ["type: pytorch\n", "command: x\n", "~", "1e999", ".inf", "9" * 50, "\ufeff", "\x85", "---\n", "%TAG\n", "$"]
PIECES += [
    "${{inputs.",
    "${{",
    "}}",
    "{search_space.lr}",
    "file:job.yml",
    "file:",
    "azureml:",
    "null",
    "0",
    "-1",
    "true",
]


def mutations(count: int) -> Iterator[bytes]:
    """Make files, the same ones every time."""
    chance = random.Random(20211)
    words = sorted({word for seed in SEEDS for word in seed.replace(":", " ").split()})
    for _ in range(count):
        text = chance.choice(SEEDS)
        for _ in range(chance.randint(1, 6)):
            kind = chance.random()
            lines = text.splitlines(keepends=True)
            if kind < 0.5 or len(lines) < 3:
                at, length = chance.randrange(len(text) + 1), chance.choice((0, 0, 1, 3, 30))
                text = text[:at] + chance.choice(PIECES) + text[at + length :]
            elif kind < 0.7:
                text = text.replace(chance.choice(words), chance.choice(words), 1)
            else:
                line = lines.pop(chance.randrange(len(lines)))
                lines.insert(chance.randrange(len(lines)), chance.choice((line, chance.choice(PIECES), "  " + line)))
                text = "".join(lines)
        content = bytearray(text.encode())
        if content and chance.random() < 0.1:
            content[chance.randrange(len(content))] = chance.randrange(256)
        yield bytes(content)


@pytest.mark.slow
def test_ten_thousand_mutated_files_load_or_have_faults_and_take_no_second(tmp_path: Path) -> None:
    for name in ("src/train.py", "train.py", "env.yml", "data/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    path = tmp_path / "job.yml"
    loaded = set()

    def load(number: int) -> None:
        with contextlib.suppress(JobFileError):
            spec = load_job(path, (), tmp_path, lenient=number % 2 == 0, paths=number % 3 == 0).spec
            assert from_plain(JobSpec, json.loads(json.dumps(to_plain(spec)))) == spec
            yaml.safe_dump(current_form(spec))
            loaded.add(number)

    for number, content in enumerate(mutations(10_000)):
        path.write_bytes(content)
        assert fastest(partial(load, number), 1) < 1, content
    assert 500 < len(loaded) < 9_500  # the files are neither all whole nor all broken
