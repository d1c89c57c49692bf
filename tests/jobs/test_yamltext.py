"""YAML that is written without the library: that reads it as what it was."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from regiment.jobs.yamltext import yaml_text

_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT
_DATA = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner), max_leaves=8)


@given(st.dictionaries(_TEXT, _DATA, max_size=4))
def test_what_is_written_is_read_as_it_was(data: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_text(data) or "{}") == data


def test_it_is_easy_to_read() -> None:
    text = yaml_text({"type": "command", "command": "python train.py", "limits": {"timeout": 60}, "argv": ["ab", "on"]})
    assert text == 'type: command\ncommand: "python train.py"\nlimits:\n  timeout: 60\nargv:\n  - ab\n  - "on"\n'
