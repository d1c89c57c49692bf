"""The lower part of the live view: the run, its nodes and processes, fitted to the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from regiment.jobs.words import counted

from .escape import printable
from .model import NodeView, ProcessView, RunView
from .talk import kill_hint, seconds
from .words import by_status, clock, how_it_ended, lowered

_STYLES = {
    "Running": "green",
    "Completed": "bold green",
    "Failed": "bold red",
    "Lost": "bold red",
    "lost": "bold red",
    "Stopped": "yellow",
    "Canceled": "yellow",
    "CancelRequested": "yellow",
    "Finalizing": "cyan",
    "Starting": "cyan",
    "Preparing": "cyan",
}
_MOST_BARS = 4
_WIDE = 44
"""Columns from which on a process's row tells all."""
_ROOMY = 10
"""Rows from which on the panel is set off by an empty one."""


def panel(
    view: RunView, now: float, width: int, height: int, bars: Sequence[Text] = (), *, interruptible: bool = True
) -> RenderableType:
    """Draw the run as it is at `now`, on the coordinator's clock, in at most `height` rows of `width` cells.

    `bars` are unfinished lines, such as progress bars; they come first, as far as there is room. Processes
    have a row each where they fit, else each node has one, else all of them together.
    """
    gap = [Text("")] if height >= _ROOMY else []
    rows: list[RenderableType] = [_header(view, now)]
    stopping = _stopping(view, now, width, interruptible)
    if stopping is not None:
        rows.append(stopping)
    shown = bars[: min(_MOST_BARS, max(0, height - 6))]
    room = height - len(rows) - len(shown) - len(gap)
    if len(view.processes) < room:
        rows.insert(1, _process_table(view, now, narrow=width < _WIDE))
    elif room > 2:
        rows.insert(1, _node_table(view, room - 1))
    elif room > 0:
        rows.insert(1, _line(Text(_totals(view))))
    return Group(*map(_line, shown), *gap, *rows)


def state_style(state: str) -> str:
    """Give the colour of a run's, node's or process's state."""
    return _STYLES.get(state, "dim")


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _header(view: RunView, now: float) -> Text:
    text = Text.assemble(
        (view.run_id and printable(view.run_id), "bold"),
        "  ",
        (lowered(view.status), state_style(view.status)),
        "  ",
        clock(view.elapsed(now)),
        ("  " + printable(view.display_name or view.experiment), "dim"),
    )
    if view.attempt:
        text.append(f"  attempt {view.attempt}", "dim")
    return _line(text)


def _stopping(view: RunView, now: float, width: int, interruptible: bool) -> Text | None:
    if view.stopping is None or view.ended is not None:
        return None
    left = view.stopping.seconds_left(now)
    if left <= 0:
        return _line(Text("stopping: SIGKILL sent", "bold yellow"))
    text = f"SIGKILL in {seconds(left)}" + (f", {kill_hint(view)}" if interruptible else "")
    full = f"stopping: {text}"
    return _line(Text(full if len(full) <= width else text, "bold yellow"))


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in columns:
        right = column in ("RANK", "PID", "ELAPSED")
        table.add_column(column, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    return table


def _process_table(view: RunView, now: float, narrow: bool) -> Table:
    table = _table("NODE", "RANK", "STATE") if narrow else _table("NODE", "RANK", "PID", "STATE", "ELAPSED", "EXIT")
    for node, processes in _by_node(view):
        if not processes:
            table.add_row(_node_cell(node, view))
        for process in processes:
            node_cell = _node_cell(node, view) if process is processes[0] else Text("")
            state = Text(lowered(process.status), state_style(process.status))
            if narrow:
                table.add_row(node_cell, str(process.rank), state)
                continue
            pid = "" if process.pid is None else str(process.pid)
            elapsed = process.elapsed(now)
            time = "" if elapsed is None else clock(elapsed)
            table.add_row(node_cell, str(process.rank), pid, state, time, _exit_cell(process))
    return table


def _node_table(view: RunView, room: int) -> Table:
    table = _table("NODE", "PROCESSES", "EXIT")
    rows = list(_by_node(view))
    shown = rows if len(rows) <= room else sorted(rows, key=_dullness)[: room - 1]
    for node, processes in sorted(shown, key=lambda row: row[0].index):
        table.add_row(_node_cell(node, view), _counts_cell(processes), _first_exit(processes))
    if len(shown) < len(rows):
        indices = {node.index for node, _ in shown}
        others = [process for node, processes in rows if node.index not in indices for process in processes]
        table.add_row(f"{counted(len(rows) - len(shown), 'other')}", _counts_cell(others), "")
    return table


def _by_node(view: RunView) -> Iterator[tuple[NodeView, list[ProcessView]]]:
    processes: dict[int, list[ProcessView]] = {}
    for process in view.processes:
        processes.setdefault(process.node_rank, []).append(process)
    for node in view.nodes:
        yield node, processes.get(node.index, [])


def _dullness(row: tuple[NodeView, list[ProcessView]]) -> int:
    """Sort nodes that tell something before those where all is as it should be."""
    node, processes = row
    if any(process.first_failure for process in processes):
        return 0
    if node.state == "lost" or any(process.status in ("Failed", "Lost") for process in processes):
        return 1
    return 2 if any(process.status == "Running" for process in processes) else 3


def _node_cell(node: NodeView, view: RunView) -> Text:
    text = Text(printable(node.node_id))
    if len({each.host for each in view.nodes}) > 1 and node.host not in (None, node.node_id):
        text.append(f" {printable(node.host or '')}", "dim")
    if node.state not in ("running", "released"):
        text.append(f" {printable(node.state)}", state_style(node.state))
    return text


def _counts_cell(processes: Sequence[ProcessView]) -> Text:
    worst = next((process.status for process in processes if process.status in ("Failed", "Lost")), None)
    return Text(by_status(processes), state_style(worst or (processes[0].status if processes else "")))


def _exit_cell(process: ProcessView) -> Text:
    how = how_it_ended(process)
    if process.first_failure:
        return Text(f"{how}  failed first" if how else "failed first", "bold red")
    return Text(how, "red" if process.status in ("Failed", "Lost") else "dim")


def _first_exit(processes: Sequence[ProcessView]) -> Text:
    failed = [process for process in processes if process.status in ("Failed", "Lost")]
    if not failed:
        return Text("")
    worst = next((process for process in failed if process.first_failure), failed[0])
    return Text(f"rank {worst.rank}: ").append_text(_exit_cell(worst))


def _totals(view: RunView) -> str:
    return f"{counted(len(view.nodes), 'node')}: {by_status(view.processes)}"
