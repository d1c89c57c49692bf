"""A growing log is read line by line, whatever is in it and however much."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regiment.launcher.view.follow import PIECE, Line, LogFollower, tail, tail_offset


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "70_driver_log_0.txt"
    path.touch()
    return path


def write(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def everything(follower: LogFollower, rank: int = 0) -> list[Line]:
    found: list[Line] = []
    while lines := follower.read_new(rank):
        found += lines
    return found


def texts(lines: list[Line]) -> list[bytes]:
    return [line.data for line in lines]


def test_a_line_is_given_once_its_newline_is_there(log: Path) -> None:
    follower = LogFollower({0: log})
    write(log, b"one\ntw")
    assert texts(follower.read_new(0)) == [b"one"]
    assert follower.read_new(0) == []
    write(log, b"o\nthree")
    assert texts(follower.read_new(0)) == [b"two"]
    assert follower.partial(0) == b"three"
    assert texts(follower.finish(0)) == [b"three"]
    assert follower.finish(0) == []


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    follower = LogFollower({0: tmp_path / "later"})
    assert follower.read_new(0) == []
    (tmp_path / "later").write_bytes(b"now\n")
    assert texts(follower.read_new(0)) == [b"now"]


def test_nothing_past_the_bytes_asked_for_is_read(log: Path) -> None:
    write(log, b"one\ntwo\n")
    follower = LogFollower({0: log})
    assert texts(follower.read_new(0, up_to=4)) == [b"one"]
    assert follower.read_new(0, up_to=4) == []
    assert follower.offset(0) == 4


def test_ten_megabytes_without_a_newline_are_given_in_marked_pieces_in_little_memory(log: Path) -> None:
    write(log, b"before\n" + b"x" * 10_000_000 + b"\nafter\n")
    follower = LogFollower({0: log})
    length = pieces = 0
    tracemalloc.start()
    while lines := follower.read_new(0):
        for line in lines:
            if line.data.startswith(b"x"):
                assert line.continued == (pieces > 0)
                pieces += 1
                length += len(line.data)
                assert len(line.data) <= PIECE
                assert line.ended == (length == 10_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert length == 10_000_000
    assert peak < 2_000_000


def test_a_long_line_is_not_cut_inside_a_character_or_a_colour(log: Path) -> None:
    write(log, b"a" * (PIECE - 1) + "é".encode() + b"b" * (PIECE - 4) + b"\x1b[31mred\n")
    lines = everything(LogFollower({0: log}))
    assert [line.data.decode() for line in lines] == [
        "a" * (PIECE - 1),
        "é" + "b" * (PIECE - 4),
        "\x1b[31mred",
    ]


def test_bytes_that_are_no_text_come_as_they_are(log: Path) -> None:
    write(log, b"\xff\xfe\x00\n\x00\x00\n")
    assert texts(everything(LogFollower({0: log}))) == [b"\xff\xfe\x00", b"\x00\x00"]


def test_a_progress_bar_is_shown_in_its_last_state(log: Path) -> None:
    follower = LogFollower({0: log})
    write(log, b"\r 10%\r 20%")
    assert follower.read_new(0) == []
    assert follower.partial(0) == b" 20%"
    write(log, b"\r 30%\r")
    assert follower.read_new(0) == []
    assert follower.partial(0) == b" 30%"
    write(log, b"100%\r\nnext\r\n")
    assert texts(follower.read_new(0)) == [b"100%", b"next"]


def test_megabytes_of_progress_without_a_newline_take_little_memory(log: Path) -> None:
    write(log, b"".join(b"\r%9d/1000000" % step for step in range(200_000)))
    follower = LogFollower({0: log})
    tracemalloc.start()
    assert follower.read_new(0) == []
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert texts(follower.finish(0)) == [b"   199999/1000000"]


def test_a_truncated_log_is_read_from_its_start_again(log: Path) -> None:
    write(log, b"a long first line\nhalf")
    follower = LogFollower({0: log})
    follower.read_new(0)
    os.truncate(log, 0)
    write(log, b"new\n")
    assert texts(everything(follower)) == [b"half", b"new"]


def test_a_replaced_log_is_read_from_its_start(log: Path, tmp_path: Path) -> None:
    write(log, b"old\n")
    follower = LogFollower({0: log})
    follower.read_new(0)
    (tmp_path / "other").write_bytes(b"new one that is longer\n")
    (tmp_path / "other").replace(log)
    assert texts(everything(follower)) == [b"new one that is longer"]


def test_a_log_that_ran_away_can_be_skipped_to_its_end(log: Path) -> None:
    write(log, b"line\n" * 100_000)
    follower = LogFollower({0: log})
    assert follower.skip(0, keep=13) == 499_987
    lines = everything(follower)
    assert texts(lines) == [b"ne", b"line", b"line"]
    assert [line.continued for line in lines] == [True, False, False]
    assert follower.skip(0, keep=13) == 0


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 40))
def test_lines_are_the_same_however_the_log_grew(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], step: int
) -> None:
    log = tmp_path_factory.mktemp("logs") / "log"
    log.touch()
    wanted = [line.replace(b"\n", b"").replace(b"\r", b"") for line in lines]
    data = b"".join(line + b"\n" for line in wanted)
    follower = LogFollower({0: log})
    found: list[Line] = []
    for start in range(0, len(data), step):
        write(log, data[start : start + step])
        found += everything(follower)
    assert texts(found) == wanted


@pytest.mark.parametrize(
    ("content", "count", "last"),
    [
        (b"", 3, []),
        (b"one", 3, [b"one"]),
        (b"one\n", 1, [b"one"]),
        (b"one\ntwo\nthree\n", 2, [b"two", b"three"]),
        (b"one\ntwo\nthr", 2, [b"two", b"thr"]),
        (b"one\ntwo\n", 0, []),
        (b"\n\n\n", 2, [b"", b""]),
        (b"x" * 200_000 + b"\nlast\n", 1, [b"last"]),
    ],
)
def test_the_last_lines_are(log: Path, content: bytes, count: int, last: list[bytes]) -> None:
    write(log, content)
    assert texts(tail(log, count)) == last


def test_the_tail_of_a_huge_file_is_found_without_reading_it(log: Path) -> None:
    os.truncate(log, 2_000_000_000_000)  # two terabytes of nothing; reading them would not end
    write(log, b"\none\ntwo\n")
    assert tail_offset(log, 2) == 2_000_000_000_001
    assert texts(tail(log, 2)) == [b"one", b"two"]
    assert len(tail(log, 5)) == 5


def test_the_tail_of_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none", 5) == []
