"""The parser: every value keeps its line, and no text takes the process down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.jobs.errors import JobFileError
from regiment.jobs.source import parse_job, parse_value, read_text
from regiment.jobs.tree import ItemList, Scalar, Section, Source, Tree
from tests.timing import fastest


def faults(text: str) -> list[str]:
    """Parse and give the faults as a user sees them."""
    return [str(fault) for fault in parse_job(text, "job.yml").faults]


def section(text: str) -> Section:
    """Parse a text that has nothing wrong with it."""
    source = parse_job(text, "job.yml")
    assert source.faults == ()
    assert isinstance(source.tree, Section)
    return source.tree


def plain(tree: Tree) -> object:
    """Turn a tree into the data it stands for."""
    if isinstance(tree, Section):
        return {name: plain(entry.value) for name, entry in tree.entries.items()}
    if isinstance(tree, ItemList):
        return [plain(item) for item in tree.items]
    assert isinstance(tree, Scalar)
    return tree.value


def test_every_value_knows_its_line() -> None:
    tree = section("command: >-\n  python\n  x.py\ntags:\n  a: 1\n\n  b: [1,\n    2]\n")
    assert tree.entries["tags"].place.line == 4
    tags = tree.entries["tags"].value
    assert isinstance(tags, Section)
    assert tags.entries["b"].place.line == 7
    items = tags.entries["b"].value
    assert isinstance(items, ItemList)
    assert [item.place.line for item in items.items] == [7, 8]


def test_scalars_are_resolved_as_yaml_1_1_and_keep_their_text() -> None:
    tree = section('a: 0.10\nb: yes\nc: 0x1F\nd: "1"\ne: 2021-13-45\nf: ~\ng: 1_000\nh: 1:30\ni: ! 7\n')
    found = {name: entry.value for name, entry in tree.entries.items()}
    assert [entry for entry in found if found[entry].place.line != 1 + "abcdefghi".index(entry)] == []
    assert list(map(plain, found.values())) == [0.1, True, 31, "1", "2021-13-45", None, 1000, 90, 7]
    assert [value.text for value in found.values() if isinstance(value, Scalar)][:3] == ["0.10", "yes", "0x1F"]


# JSON writes characters beyond as two escapes, which libyaml does not put together.
BASIC = st.characters(codec="utf-8", max_codepoint=0xFFFF)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(BASIC, max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz_-", min_size=1), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.text("abcdef", min_size=1), json_values, min_size=1))
def test_json_without_nul_loads_to_itself(data: dict[str, object]) -> None:
    text = json.dumps(data)
    if "\\u0000" in text:
        assert parse_job(text, "job.yml").faults
    else:
        assert plain(section(text)) == data


def test_aliases_and_merges_work() -> None:
    tree = section("base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\nboth: {<<: [*b, *o], x: 9}\nsame: *b\n")
    assert plain(tree.entries["both"].value) == {"x": 9, "y": 2, "z": 4}
    assert plain(tree.entries["same"].value) == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "job.yml: the file is empty"),
        ("# only\n---\n", "job.yml: the file is empty"),
        ("- a\n", "job.yml:1: expected keys with values, such as 'command: ...', found a list"),
        ("a\n", "job.yml:1: expected keys with values"),
        ("a: 1\n---\nb: 2\n", "job.yml:2: a second document"),
        (
            "a: 1\nb: !!python/object:os.system [x]\n",
            "job.yml:2: b: the tag '!!python/object:os.system' is not",
        ),
        ("a: 1\nb: !include x.yml\n", "job.yml:2: b: the tag '!include' is not allowed"),
        ("a: !!binary aGk=\n", "job.yml:1: a: the tag '!!binary' is not allowed"),
        ("a: 1\nb: 2\na: 3\n", "job.yml:3: a: given twice, on lines 1 and 3, with different values"),
        ("t:\n  a: 1\n  a: '1'\n", "job.yml:3: t.a: given twice, on lines 2 and 3"),
        ("a: 1\n2: b\n", "job.yml:2: YAML reads the key '2' as a number"),
        ("on: 1\n", "job.yml:1: YAML reads the key 'on' as true or false"),
        ("? [a]\n: 1\n", "job.yml:1: a key must be text"),
        ("a: .nan\n", "job.yml:1: a: '.nan' is no finite number"),
        ("a: [1, -.inf]\n", "job.yml:1: a[1]: '-.inf' is no finite number"),
        ("a: 9223372036854775809\n", "job.yml:1: a: the number is too large"),
        ("a: " + "9" * 900_000, "job.yml:1: a: the number is too large"),
        ("a: *nobody\n", "job.yml:1: a: there is no '&nobody'"),
        ("a: &x [*x]\n", "job.yml:1: a[0]: '*x' stands within what it stands for"),
        ("a: {<<: 1}\n", "job.yml:1: a.<<: '<<' takes a mapping"),
        ('a: "x\\0y"\n', "job.yml:1: a: the text has a character that no program takes"),
        ("a: 1\nb: \x07\n", "job.yml:2: the character '\\x07' is not allowed"),
        ("a: !!int x\n", "job.yml:1: a: 'x' is not what its tag says"),
    ],
)
def test_what_is_refused_is_refused_with_its_line(text: str, wanted: str) -> None:
    (fault,) = faults(text)
    assert fault.startswith(wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a:\n\tb: 1\n", "job.yml:2: a tab stands where"),
        ("a: b\nc: d: e\n", "job.yml:2: there is a ':' where no key can stand"),
        ("a: 1\nb: 'x\nc: 2\n", "job.yml:2: the quote that opens on line 2 is never closed"),
        ("a: 1\nb: [1, 2\n", "job.yml:2: the '[' on line 2 is not closed"),
        ("a: 1\nb: {c: 2\n", "job.yml:2: the '{' on line 2 is not closed"),
        ("a:\n  b: 1\n c: 2\n", "job.yml:3: this does not fit what stands above it"),
        ("a: 1\nfoo\nb: 2\n", "job.yml:2: 'foo' is no 'key: value'"),
        ("a: @x\n", "job.yml:1: a value cannot start with '@'"),
        ("%YAML 9.0\n---\na: 1\n", "job.yml:1: the file asks for a YAML version"),
    ],
)
def test_a_syntax_error_is_one_sentence_with_its_line(text: str, wanted: str) -> None:
    (fault,) = faults(text)
    assert fault.startswith(wanted)


def test_all_faults_come_at_once() -> None:
    assert len(faults("a: .nan\nb: !x 1\n1: 2\nc: *z\nd: 1\nd: 2\n")) == 5


def test_a_key_twice_with_the_same_value_is_only_a_note() -> None:
    source = parse_job("a: [1, {b: 2}]\nc: 1\na: [1, {b: 2}]\n", "job.yml")
    assert source.faults == ()
    assert [str(note) for note in source.notes] == ["job.yml:3: a: given twice, on lines 1 and 3, with the same value"]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[" * 100_000, "deeper than 64"),
        ("a: " + "{a: " * 100_000, "deeper than 64"),
        ("- " * 100_000, "deeper than 64"),
        (BOMB, "more than 100,000 values"),
        ("a: [" + "[]," * 300_000, "more than 100,000 values"),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 70)), "deeper than 64"),
    ],
)
def test_a_file_made_to_exhaust_us_is_one_fault_and_takes_no_longer_than_an_honest_one(text: str, wanted: str) -> None:
    (fault,) = faults(text)
    assert wanted in fault
    honest = "a: [" + "1," * 99_000 + "]"  # 0.6 s on a quiet machine
    enough = 2 * fastest(lambda: faults(honest), 0)
    assert fastest(lambda: faults(text), enough) < enough


def test_a_file_over_one_megabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_bytes(b"a: " + b"x" * 1_000_000)
    with pytest.raises(JobFileError, match=r"job\.yml: is larger than 1 MB"):
        read_text(path, "job.yml")


def test_invalid_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(JobFileError, match=r"job\.yml:2: a byte here is no UTF-8"):
        read_text(path, "job.yml")


@pytest.mark.parametrize("name", ["missing.yml", ".", "x" * 5000, "nul\0"])
def test_what_cannot_be_read_is_a_fault(tmp_path: Path, name: str) -> None:
    with pytest.raises(JobFileError, match=r"job\.yml: "):
        read_text(tmp_path / name, "job.yml")


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert plain(section(read_text(path, "job.yml"))) == {"a": 1}


def value(text: str) -> Source:
    """Parse a value of the command line."""
    return parse_value(text, "--set a=x", "a")


def test_a_value_of_the_command_line_has_no_lines() -> None:
    assert value("2").tree == Scalar(place=value("2").tree.place, text="2", value=2)  # type: ignore[union-attr]
    for text in ("a: b", "- a", "[a", "'x", "*y", "!t x", "a: b: c", "\x07"):
        assert [str(fault).startswith("--set a=x: a: ") for fault in value(text).faults] == [True], text


def test_nothing_after_the_equals_sign_is_nothing() -> None:
    tree = value("").tree
    assert isinstance(tree, Scalar)
    assert tree.value is None
