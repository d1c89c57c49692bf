"""The live view, in a terminal that is really there or written down."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from regiment.launcher.view import choose_view
from regiment.launcher.view.live import LiveView
from regiment.launcher.view.model import RunView, advance
from regiment.launcher.view.panel import panel
from regiment.launcher.view.plain import PlainView

from .history import (
    COMPLETED,
    FAILED,
    STARTED,
    UNIX_ZERO,
    dated,
    exited,
    node,
    process,
    run_started,
    started,
    status,
    stopping,
)

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def drawn(
    events: Sequence[dict[str, Any]], now: float, width: int = 80, height: int = 16, bars: Sequence[Text] = ()
) -> list[str]:
    """Draw the panel after these events as lines of text."""
    view = RunView()
    for event in dated(events):
        view = advance(view, event)
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    lines = console.render_lines(panel(view, now, width, height, bars), pad=False)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def write(folder: Path, rank: int, data: bytes) -> int:
    log = folder / str(process(rank, 2)["log"])
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(data)
        return file.tell()


def test_each_process_has_a_row_with_pid_state_elapsed_and_exit() -> None:
    assert drawn(FAILED[:-6], now=60) == [
        "",
        "quiet_otter_1  finalizing  1:00  mnist",
        "NODE          RANK   PID  STATE    ELAPSED  EXIT",
        "node-0 alpha     0  4700  running     0:53",
        "                 1  4701  running     0:52",
        "node-1 beta      2  4702  running     0:51",
        "                 3  4703  failed      0:01  exit code 7  failed first",
        "stopping: SIGKILL sent",
    ]


def test_the_countdown_and_how_to_hasten_it_are_shown() -> None:
    events = [*STARTED, status("CancelRequested"), stopping("Ctrl-C", grace=30)]
    assert drawn(events, now=len(events) - 1 + 18)[-1] == "stopping: SIGKILL in 12 s, press Ctrl-C again to kill now"


def test_many_processes_are_summarised_by_node() -> None:
    events = [
        run_started(8, 8),
        *(node(index, "running") for index in range(8)),
        *(started(rank) for rank in range(64)),
        exited(27, "Failed", 7, first=True),
    ]
    assert drawn(events, now=80) == [
        "",
        "quiet_otter_1  not started  1:20  mnist",
        "NODE    PROCESSES            EXIT",
        "node-0  8 running",
        "node-1  8 running",
        "node-2  8 running",
        "node-3  7 running, 1 failed  rank 27: exit code 7  failed first",
        "node-4  8 running",
        "node-5  8 running",
        "node-6  8 running",
        "node-7  8 running",
    ]


def test_of_very_many_nodes_those_in_trouble_are_named() -> None:
    events = [
        run_started(200, 8),
        *(node(index, "running") for index in range(200)),
        *(started(rank) for rank in range(1600)),
        node(150, "lost"),
        exited(1205, "Lost"),
    ]
    lines = drawn(events, now=2000)
    assert len(lines) <= 16
    assert "node-150 lost  7 running, 1 lost  rank 1205:" in lines
    assert lines[-1].split() == ["188", "others", "1504", "running"]


@pytest.mark.parametrize(("nodes", "per_node"), [(1, 1), (2, 2), (8, 8), (100, 8)])
@pytest.mark.parametrize(("width", "height"), [(20, 4), (34, 7), (80, 16), (200, 60), (3, 2)])
def test_the_panel_fits_every_terminal(nodes: int, per_node: int, width: int, height: int) -> None:
    events = [
        run_started(nodes, per_node),
        *(started(rank) for rank in range(nodes * per_node)),
        stopping("rank 0 failed"),
    ]
    lines = drawn(events, now=3, width=width, height=height, bars=[Text("x" * 300)] * 9)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)


def test_a_failed_run_ends_with_the_panel_the_verdict_and_the_closing_lines(tmp_path: Path) -> None:
    write(tmp_path, 3, b"\x1b[2Jboom\n")
    screen = io.StringIO()
    view = LiveView(screen, tmp_path, width=80, height=24)
    for event in dated(FAILED):
        view.on_event(event)
        view.tick(UNIX_ZERO + event["at"])
    view.close()
    assert view.done
    shown = CONTROL.sub("", screen.getvalue()).splitlines()
    end = shown.index("rank 3 on node-1 failed first: exit code 7")
    assert [line.rstrip() for line in shown[end - 6 : end]] == [
        "quiet_otter_1  failed  0:12  mnist",
        "NODE          RANK   PID  STATE    ELAPSED  EXIT",
        "node-0 alpha     0  4700  stopped     0:07  SIGTERM",
        "                 1  4701  stopped     0:07  SIGTERM",
        "node-1 beta      2  4702  stopped     0:07  SIGTERM",
        "                 3  4703  failed      0:01  exit code 7  failed first",
    ]
    assert shown[end + 1] == "last 3 lines of azureml-logs/node-1/70_driver_log_3.txt:"
    assert shown[-4].rstrip() == "run      quiet_otter_1"
    assert shown[-2:] == ["result   Failed, exit status 1", "elapsed  12.3 s"]
    assert "[node-1 rank 3] \\x1b[2Jboom" in [line.rstrip() for line in shown]


def test_new_lines_are_shown_with_node_and_rank(tmp_path: Path) -> None:
    screen = io.StringIO()
    view = LiveView(screen, tmp_path, width=80, height=24)
    for event in dated(STARTED):
        view.on_event(event)
    view.on_log(2, write(tmp_path, 2, b"loss 0.5\n[markup] stays :smile:\n 40%|####"))
    view.tick(UNIX_ZERO + 20)
    shown = [line.rstrip() for line in CONTROL.sub("", screen.getvalue()).splitlines()]
    assert "[node-1 rank 2] loss 0.5" in shown
    assert "[node-1 rank 2] [markup] stays :smile:" in shown
    assert "[node-1 rank 2]  40%|####" in shown
    view.close()


def test_a_terminal_is_drawn_at_most_ten_times_a_second(tmp_path: Path) -> None:
    screen = io.StringIO()
    view = LiveView(screen, tmp_path, width=80, height=24)
    for event in dated(STARTED):
        view.on_event(event)
    draws = 0
    for hundredth in range(100):
        before = screen.tell()
        view.on_log(0, write(tmp_path, 0, b"line\n"))
        view.tick(UNIX_ZERO + 20 + hundredth / 100)
        draws += screen.tell() > before
    assert 9 <= draws <= 10
    view.close()


def test_a_log_that_runs_away_is_cut_and_the_cut_is_said(tmp_path: Path) -> None:
    screen = io.StringIO()
    view = LiveView(screen, tmp_path, width=100, height=24)
    for event in dated(STARTED):
        view.on_event(event)
    view.on_log(0, write(tmp_path, 0, b"flood\n" * 2_000_000))
    view.tick(UNIX_ZERO + 20)
    shown = CONTROL.sub("", screen.getvalue())
    assert "[node-0 rank 0] 12.0 MB not shown here, see azureml-logs/node-0/70_driver_log_0.txt" in shown
    assert shown.count("flood") < 5000
    view.close()


def test_the_cursor_is_never_hidden_so_that_no_death_of_the_viewer_leaves_it_so(tmp_path: Path) -> None:
    screen = io.StringIO()
    view = LiveView(screen, tmp_path, width=80, height=24)
    for event in dated(COMPLETED):
        view.on_event(event)
        view.tick(UNIX_ZERO + event["at"])
    view.close()
    assert "\x1b[?25l" not in screen.getvalue()
    assert "\x1b[?1049h" not in screen.getvalue()


def test_a_coordinator_whose_clock_is_ahead_never_makes_time_run_backwards(tmp_path: Path) -> None:
    screen = io.StringIO()
    view = LiveView(screen, tmp_path, width=80, height=24)
    for event in dated(STARTED):
        view.on_event(event)
    view.tick(UNIX_ZERO - 3600)
    view.tick(UNIX_ZERO - 3590)
    shown = [line.rstrip() for line in CONTROL.sub("", screen.getvalue()).splitlines()]
    assert [line for line in shown if "  mnist" in line] == [
        "quiet_otter_1  running  0:10  mnist",
        "quiet_otter_1  running  0:20  mnist",
    ]
    view.close()


def terminal(width: int, height: int) -> tuple[int, io.TextIOWrapper]:
    """Open a real terminal of this size: its other end, and what a program writes to."""
    other, own = pty.openpty()
    fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    return other, os.fdopen(own, "w")


@pytest.mark.parametrize(
    ("term", "quiet", "kind"),
    [
        ("xterm-256color", False, LiveView),
        ("dumb", False, PlainView),
        ("", False, PlainView),
        ("xterm", True, PlainView),
    ],
)
def test_a_terminal_gets_the_live_view_where_it_can_show_it(tmp_path: Path, term: str, quiet: bool, kind: type) -> None:
    other, own = terminal(80, 24)
    with own:
        assert type(choose_view(own, own, quiet, tmp_path, environ={"TERM": term})) is kind
    os.close(other)


def test_a_terminal_that_hangs_up_ends_the_drawing_and_nothing_else(tmp_path: Path) -> None:
    other, own = terminal(80, 24)
    view = LiveView(own, tmp_path)
    history = dated(FAILED)
    for event in history[:10]:
        view.on_event(event)
    view.tick(UNIX_ZERO + 10)
    os.close(other)
    for event in history[10:]:
        view.on_event(event)
        view.tick(UNIX_ZERO + event["at"])
    view.close()
    assert view.done
    with contextlib.suppress(OSError):  # what nobody took of the stream's buffer
        own.close()


def test_a_paused_terminal_blocks_nothing_and_shows_all_once_it_goes_on(tmp_path: Path) -> None:
    other, own = terminal(80, 24)
    with own:
        view = LiveView(own, tmp_path)
        for event in dated(STARTED):
            view.on_event(event)
        termios.tcflow(own.fileno(), termios.TCOOFF)
        for second in range(20, 30):
            view.on_log(0, write(tmp_path, 0, b"line %d\n" % second))
            view.tick(UNIX_ZERO + second)
        assert select.select([other], [], [], 0)[0] == []
        termios.tcflow(own.fileno(), termios.TCOON)
        view.tick(UNIX_ZERO + 31)
        shown = b""
        while b"line 29" not in shown:
            shown += os.read(other, 65536)
        assert all(b"line %d" % second in shown for second in range(20, 30))
    os.close(other)
