"""What must be the same for ranks to be forked from a process that was started for an earlier attempt."""

from __future__ import annotations

from typing import Any

import pytest

from regiment.distribution.pythonline import python_call
from regiment.jobs.dataclass import replace
from regiment.launcher.node.preloaded import Origin

ENVIRON = {"REGIMENT_ATTEMPT": "0", "MASTER_PORT": "1", "AZ_BATCH_MASTER_NODE": "here:1", "LANG": "C"}
BEFORE = Origin(python_call(["python", "train.py", "--rank", "0"]), "/bin/python3", ("torch",), ("/job", 1, 2), ENVIRON)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"environ": {"REGIMENT_ATTEMPT": "1", "MASTER_PORT": "2", "AZ_BATCH_MASTER_NODE": "b", "LANG": "C"}}, None),
        ({"call": python_call(["python", "train.py", "--rank", "1"])}, None),
        ({"environ": {**ENVIRON, "LANG": "de"}}, "the variable LANG"),
        ({"environ": {**ENVIRON, "NEW": ""}}, "the variable NEW"),
        ({"environ": {"MASTER_PORT": "1"}}, "the variable LANG"),
        ({"call": python_call(["python", "other.py", "--rank", "0"])}, "the command"),
        ({"call": python_call(["python", "train.py"])}, "the number of arguments"),
        ({"program": "/bin/python4"}, "Python"),
        ({"modules": ("torch", "numpy")}, "the list of modules"),
        ({"folder": ("/job", 1, 3)}, "the folder"),
    ],
)
def test_whatever_an_import_depends_on_is_compared_and_what_each_attempt_changes_is_not(
    changed: dict[str, Any], reason: str | None
) -> None:
    difference = BEFORE.difference(replace(BEFORE, **changed))
    assert difference == (None if reason is None else f"{reason} has changed")
