"""What two runs differ in, from facts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.jobs.difference import Difference, arguments, changed_lines, differences, flat

FACTS = st.dictionaries(st.text(), st.dictionaries(st.text(), st.text()))


def test_only_what_differs_is_told_in_order() -> None:
    one = {"spec": {"a": "1", "b": "2"}, "packages": {"torch": "2.1"}}
    other = {"spec": {"b": "3", "a": "1", "c": "4"}, "hosts": {"node-0": "x"}}
    assert differences(one, other) == (
        Difference("spec", "b", "2", "3"),
        Difference("spec", "c", None, "4"),
        Difference("packages", "torch", "2.1", None),
        Difference("hosts", "node-0", None, "x"),
    )


@given(FACTS, FACTS)
def test_a_difference_is_one_and_is_the_same_from_both_sides(one: dict, other: dict) -> None:  # type: ignore[type-arg]
    assert differences(one, one) == ()
    turned = {(d.section, d.key, d.other, d.one) for d in differences(other, one)}
    assert {(d.section, d.key, d.one, d.other) for d in differences(one, other)} == turned


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "python train.py --lr 0.1 --amp --name=x y",
            {"word 1": "python", "word 2": "train.py", "--lr": "0.1", "--amp": "", "--name": "x", "word 3": "y"},
        ),
        ("x --d -1 -v -v", {"word 1": "x", "--d": "-1", "-v": "", "-v (2)": ""}),
        ("x --a --b", {"word 1": "x", "--a": "", "--b": ""}),
        ("echo 'a b' -", {"word 1": "echo", "word 2": "a b", "word 3": "-"}),
        ("it's", {"word 1": "it's"}),
        ("", {}),
    ],
)
def test_words_of_a_command_have_names(command: str, words: dict[str, str]) -> None:
    assert arguments(command) == words


def test_nested_data_becomes_one_level() -> None:
    assert flat({"a": {"b": [1, {"c": None}]}, "d": True}) == {"a.b[0]": "1", "a.b[1].c": "None", "d": "True"}


def test_changed_lines_are_those_of_diff() -> None:
    assert changed_lines("x.py", "a\nb\n", "a\nc\n") == [
        "--- a/x.py",
        "+++ b/x.py",
        "@@ -1,2 +1,2 @@",
        " a",
        "-b",
        "+c",
    ]
