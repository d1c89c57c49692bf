"""Plain lines: the job's on standard output, ours on standard error."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from regiment.launcher.view import choose_view
from regiment.launcher.view.model import ErrorView
from regiment.launcher.view.plain import PlainView
from regiment.launcher.view.verdict import verdict_lines

from .history import (
    COMPLETED,
    FAILED,
    STARTED,
    UNIX_ZERO,
    dated,
    exited,
    note,
    process,
    run_ended,
    run_started,
    started,
    status,
    stopping,
)


class Streams:
    def __init__(self) -> None:
        self.stdout = io.StringIO()
        self.stderr = io.StringIO()

    @property
    def out(self) -> str:
        return self.stdout.getvalue()

    @property
    def err(self) -> str:
        return self.stderr.getvalue()


def write(folder: Path, rank: int, data: bytes, per_node: int = 2) -> None:
    log = folder / process(rank, per_node)["log"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(data)


def play(folder: Path, events: Sequence[dict[str, Any]], **options: Any) -> Streams:
    streams = Streams()
    view = PlainView(streams.stdout, streams.stderr, folder, **options)
    for event in dated(events):
        view.on_event(event)
    view.close()
    return streams


def test_a_failed_run_reads(tmp_path: Path) -> None:
    for rank in range(4):
        write(tmp_path, rank, b"hello from %d\n" % rank)
    streams = play(tmp_path, FAILED)
    assert sorted(streams.out.splitlines()) == [
        "[node-0 rank 0] hello from 0",
        "[node-0 rank 1] hello from 1",
        "[node-1 rank 2] hello from 2",
        "[node-1 rank 3] hello from 3",
    ]
    assert streams.err == (
        "regiment: run quiet_otter_1: 2 nodes, 4 processes (pytorch)\n"
        "regiment: node-0 is ready on alpha\n"
        "regiment: node-1 is ready on beta\n"
        "regiment: all 4 processes run\n"
        "regiment: node-1 rank 3 failed: exit code 7\n"
        "regiment: stopping all processes, SIGKILL in 30 s: rank 3 failed\n"
        "rank 3 on node-1 failed first: exit code 7\n"
        "last 3 lines of azureml-logs/node-1/70_driver_log_3.txt:\n"
        "    Traceback (most recent call last):\n"
        '      File "train.py", line 3\n'
        "    ValueError: bad\\x1b]0;x\\x07\n"
        "rank 0 on node-0: stopped with SIGTERM\n"
        "rank 1 on node-0: stopped with SIGTERM\n"
        "rank 2 on node-1: stopped with SIGTERM\n"
        "run      quiet_otter_1\n"
        f"folder   {tmp_path}\n"
        "result   Failed, exit status 1\n"
        "elapsed  12.3 s\n"
    )


def test_processes_that_never_ran_at_once_are_not_said_to(tmp_path: Path) -> None:
    done = [exited(rank, "Completed", 0) for rank in range(2)]
    streams = play(tmp_path, [run_started(1, 2), started(0), done[0], started(1), done[1], run_ended("Completed", 0)])
    assert "processes run\n" not in streams.err


def test_quiet_says_nothing_of_a_run_that_completes(tmp_path: Path) -> None:
    write(tmp_path, 0, b"result 42\n")
    streams = play(tmp_path, COMPLETED, quiet=True)
    assert streams.out == "[node-0 rank 0] result 42\n"
    assert streams.err == ""


def test_quiet_still_says_why_a_run_failed(tmp_path: Path) -> None:
    streams = play(tmp_path, FAILED, quiet=True)
    assert streams.err.splitlines()[0] == "rank 3 on node-1 failed first: exit code 7"
    assert "regiment:" not in streams.err
    assert "result " not in streams.err


def test_the_lines_of_a_single_process_have_no_prefix_and_long_ones_stay_whole(tmp_path: Path) -> None:
    write(tmp_path, 0, b"x" * 30_000 + b"\nnext\n", per_node=1)
    events = [run_started(1, 1), started(0), exited(0, "Completed", 0), run_ended("Completed", 0)]
    assert play(tmp_path, events).out == "x" * 30_000 + "\nnext\n"


def test_every_piece_of_a_long_line_bears_the_prefix_of_its_rank(tmp_path: Path) -> None:
    write(tmp_path, 1, b"x" * 30_000 + b"\nnext\n")
    lines = play(tmp_path, COMPLETED).out.splitlines()
    assert [line.split("x")[0] for line in lines] == [
        "[node-0 rank 1] ",
        "[node-0 rank 1]+ ",
        "[node-0 rank 1]+ ",
        "[node-0 rank 1]+ ",
        "[node-0 rank 1] ne",
    ]


def test_a_log_cannot_forge_the_prefix_of_another_rank(tmp_path: Path) -> None:
    write(tmp_path, 0, b"a\r[node-1 rank 3] b\n\x1b[1A\x1b[G[node-1 rank 3] c\nd\x0b[node-1 rank 3]\x85\n")
    lines = play(tmp_path, COMPLETED).out.split("\n")
    assert all(line.startswith("[node-0 rank 0] ") for line in lines if line)
    assert "\x1b" not in "".join(lines)


def test_half_a_line_at_the_end_is_shown(tmp_path: Path) -> None:
    write(tmp_path, 2, b"whole\nhalf")
    assert play(tmp_path, COMPLETED).out == "[node-1 rank 2] whole\n[node-1 rank 2] half\n"


def test_lines_come_as_soon_as_the_log_has_them(tmp_path: Path) -> None:
    streams = Streams()
    view = PlainView(streams.stdout, streams.stderr, tmp_path)
    for event in dated(STARTED):
        view.on_event(event)
    write(tmp_path, 1, b"first\n")
    view.on_log(1, 6)
    assert streams.out == "[node-0 rank 1] first\n"
    view.on_log(1, 13)  # announced before this side of a network file system has the bytes
    assert streams.out == "[node-0 rank 1] first\n"
    write(tmp_path, 1, b"second\n")
    view.tick(UNIX_ZERO + 20)
    assert streams.out == "[node-0 rank 1] first\n[node-0 rank 1] second\n"


def test_a_log_message_about_an_unknown_rank_is_ignored(tmp_path: Path) -> None:
    streams = Streams()
    view = PlainView(streams.stdout, streams.stderr, tmp_path)
    view.on_log(7, 100)
    view.tick(UNIX_ZERO)
    assert streams.out == ""


def test_only_the_chosen_rank_is_shown_and_only_the_tail_of_what_was_there(tmp_path: Path) -> None:
    for rank in range(4):
        write(tmp_path, rank, b"".join(b"line %d\n" % number for number in range(10)))
    streams = play(tmp_path, COMPLETED, chosen=lambda each: each.rank == 1, tail=2)
    assert streams.out == "[node-0 rank 1] line 8\n[node-0 rank 1] line 9\n"


def test_the_countdown_of_a_stop_is_said_at_milestones(tmp_path: Path) -> None:
    streams = Streams()
    view = PlainView(streams.stdout, streams.stderr, tmp_path)
    for event in dated([*STARTED, status("CancelRequested"), stopping("Ctrl-C", grace=30)]):
        view.on_event(event)
    began = UNIX_ZERO + len(STARTED) + 1
    for tenth in range(320):
        view.tick(began + tenth / 10)
    assert streams.err.splitlines()[-4:] == [
        "regiment: stopping all processes, SIGKILL in 30 s: Ctrl-C",
        "regiment: SIGKILL in 20 s, press Ctrl-C again to kill now",
        "regiment: SIGKILL in 10 s, press Ctrl-C again to kill now",
        "regiment: SIGKILL in 5 s, press Ctrl-C again to kill now",
    ]


def test_of_very_many_failures_only_the_first_are_named(tmp_path: Path) -> None:
    events = [run_started(1, 100), *(exited(rank, "Failed", 1) for rank in range(100))]
    said = play(tmp_path, events).err.splitlines()
    assert len([line for line in said if "failed: exit code 1" in line]) == 8
    assert said[-1] == "regiment: more processes failed; the last lines count them"


def test_notes_of_the_coordinator_cannot_drive_the_terminal(tmp_path: Path) -> None:
    said = play(tmp_path, [run_started(1, 1), note("no such\x1b[2J thing\nnext", "warning")]).err
    assert said.endswith("regiment: warning: no such\\x1b[2J thing\nregiment:   next\n")


def test_a_verdict_names_few_followers_and_counts_the_rest() -> None:
    error = ErrorView("rank 0 failed first: exit code 1", followed=tuple(f"rank {rank}" for rank in range(1, 64)))
    assert verdict_lines(error) == [
        "rank 0 failed first: exit code 1",
        "rank 1",
        "rank 2",
        "rank 3",
        "rank 4",
        "and 59 more processes",
    ]


def test_a_closed_pipe_ends_the_printing_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, 0, b"line\n" * 1000)
    reading, writing = os.pipe()
    os.close(reading)
    streams = Streams()
    with os.fdopen(writing, "w") as stdout:
        view = PlainView(stdout, streams.stderr, tmp_path)
        for event in dated(FAILED):
            view.on_event(event)
        view.close()
    assert view.done
    assert "rank 3 on node-1 failed first: exit code 7\n" in streams.err


def test_a_reader_that_pauses_blocks_nothing_and_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path, 0, b"".join(b"line %d\n" % number for number in range(50_000)))
    reading, writing = os.pipe()
    streams = Streams()
    with os.fdopen(writing, "w") as stdout, os.fdopen(reading, "rb") as reader:
        view = PlainView(stdout, streams.stderr, tmp_path)
        for event in dated(COMPLETED):
            view.on_event(event)
        view.tick(UNIX_ZERO + 30)
        waits = not view.done
        received = b""
        while not view.done:
            received += os.read(reader.fileno(), 65536)
            view.tick(UNIX_ZERO + 31)
        stdout.close()
        received += reader.read()
    assert waits
    assert received == b"".join(b"[node-0 rank 0] line %d\n" % number for number in range(50_000))
    assert "result   Completed" in streams.err


def test_a_viewer_told_not_to_wait_leaves_at_once(tmp_path: Path) -> None:
    write(tmp_path, 0, b"line\n" * 100_000)
    reading, writing = os.pipe()
    streams = Streams()
    with os.fdopen(writing, "w") as stdout, os.fdopen(reading, "rb"):
        view = PlainView(stdout, streams.stderr, tmp_path)
        for event in dated(COMPLETED):
            view.on_event(event)
        view.close(wait=False)
    assert view.done


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_output_that_is_no_terminal_is_plain(tmp_path: Path, term: str) -> None:
    assert isinstance(choose_view(io.StringIO(), io.StringIO(), False, tmp_path, environ={"TERM": term}), PlainView)


def test_the_plain_view_never_imports_rich() -> None:
    program = "import sys, regiment.launcher.view as v; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_what_is_left_of_an_attempts_logs_is_shown_before_the_next_ones(tmp_path: Path) -> None:
    """Also where the link to the newest logs leads to the next attempt's by then."""
    for attempt in (0, 1):
        write(tmp_path / "attempts" / str(attempt), 0, f"line of attempt {attempt}\nits rest".encode())
    streams = Streams()
    view = PlainView(streams.stdout, streams.stderr, tmp_path)
    view.on_event(run_started(1, 2))
    view.on_event(started(0))
    view.on_event(exited(0, "Failed", 7))
    view.on_event(run_started(1, 2, attempt=1))
    view.on_log(0, 100)
    view.close()
    said = [f"[node-0 rank 0] {line}\n" for n in (0, 1) for line in (f"line of attempt {n}", "its rest")]
    assert streams.out == "".join(said)
