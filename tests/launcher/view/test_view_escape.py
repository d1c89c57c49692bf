"""Whatever a job writes, what comes to the terminal is harmless."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.launcher.view.escape import printable, printable_lines

SEQUENCES = st.sampled_from(
    [b"\x1b[31m", b"\x1b]0;title\x07", b"\x1b[2J", b"\x9b1A", b"\r", b"\x00", "\u202e".encode()]
)
MISCHIEF = st.lists(st.one_of(st.binary(max_size=8), SEQUENCES, st.text(max_size=4).map(str.encode))).map(b"".join)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"loss 0.5", "loss 0.5"),
        ("größe 10 µs, 訓練 🚀".encode(), "größe 10 µs, 訓練 🚀"),
        (b"a\tb", "a\tb"),
        (b"C:\\temp", "C:\\temp"),
        (b"\x1b[1;32mok\x1b[0m done", "ok done"),
        (b"\x1b[Kprogress", "progress"),
        (b"\x1b[2Jgone", "\\x1b[2Jgone"),
        (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        (b"\x1b\x1b[0m[31m", "\\x1b[31m"),
        (b"half \xe2\x82", "half \\xe2\\x82"),
        (b"\xff\xfe\x00", "\\xff\\xfe\\x00"),
        ("\x9b31m".encode(), "\\u009b31m"),
        ("user\u202etxt.exe".encode(), "user\\u202etxt.exe"),
        ("line\u2028separator".encode(), "line\\u2028separator"),
        (b"up\x0bdown\x0c", "up\\x0bdown\\x0c"),
    ],
)
def test_a_line_is_shown_as(written: bytes, shown: str) -> None:
    assert printable(written) == shown


OVERRIDES = ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI", "PDF", "PDI")


def assert_harmless(shown: str) -> None:
    assert all(char == "\t" or unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp") for char in shown)
    assert all(unicodedata.bidirectional(char) not in OVERRIDES for char in shown)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


@given(MISCHIEF)
def test_no_control_character_ever_comes_out(written: bytes) -> None:
    assert_harmless(printable(written))


@given(st.text())
def test_text_of_the_coordinator_is_made_as_safe_as_bytes(text: str) -> None:
    for line in printable_lines(text):
        assert_harmless(line)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_plain_text_comes_out_unchanged(text: str) -> None:
    assert printable(text.encode()) == text
