"""What we say while a run goes on: the changes that are worth a line; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from regiment.jobs.dataclass import dataclass
from regiment.jobs.words import counted

from .escape import printable, printable_lines
from .model import Event, ProcessView, RunView
from .words import clock, how_it_ended, label

FEW_NODES = 8
"""Up to this many nodes are announced one by one."""
FAILURES_NAMED = 8
"""Failures past this many are only counted, by the verdict."""
_COUNTDOWN = (600, 300, 120, 60, 30, 20, 10, 5)


@dataclass(frozen=True)
class Remark:
    """One line of ours about the run."""

    text: str
    level: str = "info"
    """`info`, `warning` or `error`."""
    lasting: bool = True
    """Whether it is worth a line where a table shows all states anyway."""


def remarks(before: RunView, after: RunView, event: Event) -> list[Remark]:
    """Say what an event changed, where that is worth saying."""
    if after is before:
        return []
    speak = _SPEAK.get(str(event.get("event")))
    return [] if speak is None else speak(before, after, event)


def kill_hint(view: RunView) -> str:
    """Say how to hasten the end of processes that are being stopped."""
    again = " again" if view.status == "CancelRequested" else ""
    return f"press Ctrl-C{again} to kill now"


def countdown_passed(left_before: float, left: float) -> int | None:
    """Give the last milestone, in seconds, that a countdown has come to; None between two of them."""
    passed = [second for second in _COUNTDOWN if left <= second < left_before]
    return passed[-1] if passed else None


def _run_started(before: RunView, after: RunView, event: Event) -> list[Remark]:
    what = f"{counted(len(after.nodes), 'node')}, {counted(len(after.processes), 'process', 'processes')}"
    kind = f" ({printable(after.distribution)})" if after.distribution else ""
    attempt = f", attempt {after.attempt}" if after.attempt else ""
    return [Remark(f"run {printable(after.run_id)}{attempt}: {what}{kind}", lasting=False)]


def _node(before: RunView, after: RunView, event: Event) -> list[Remark]:
    node = after.node(event["nodeRank"])
    known = before.node(event["nodeRank"])
    if node is None:
        return []
    name, text = printable(node.node_id), printable(node.text or "")
    if node.state == "lost":
        return [Remark(f"{name} is lost: {text}" if text else f"{name} is lost", "error")]
    if text:
        return [Remark(f"{name} {printable(node.state)}: {text}", lasting=False)]
    # The last one to come up is told to prepare in the same moment, and never seen to be just ready.
    if node.state not in ("ready", "preparing") or (known is not None and known.state in ("ready", "preparing")):
        return []
    if len(after.nodes) <= FEW_NODES:
        host = f" on {printable(node.host)}" if node.host and node.host != node.node_id else ""
        return [Remark(f"{name} is ready{host}", lasting=False)]
    if all(each.state != "starting" for each in after.nodes):
        return [Remark(f"all {len(after.nodes)} nodes are ready", lasting=False)]
    return []


def _process_started(before: RunView, after: RunView, event: Event) -> list[Remark]:
    if not _all_started(after) or _all_started(before):
        return []
    if any(process.ended_at is not None for process in after.processes):
        return []  # A short one was through before the last had started: never did all of them run.
    count = len(after.processes)
    return [Remark("the process runs" if count == 1 else f"all {count} processes run", lasting=False)]


def _all_started(view: RunView) -> bool:
    return all(process.started_at is not None for process in view.processes)


def _process_exited(before: RunView, after: RunView, event: Event) -> list[Remark]:
    process = after.process(event["rank"])
    if process is None or not _fell(process):
        return []
    failures = sum(map(_fell, after.processes))
    if failures > FAILURES_NAMED:
        return [Remark("more processes failed; the last lines count them", "error")] * (failures == FAILURES_NAMED + 1)
    how = how_it_ended(process)
    verb = "is lost" if process.status == "Lost" else "failed"
    return [Remark(f"{label(process)} {verb}: {how}" if how else f"{label(process)} {verb}", "error")]


def _fell(process: ProcessView) -> bool:
    return process.status in ("Failed", "Lost")


def _stopping(before: RunView, after: RunView, event: Event) -> list[Remark]:
    stopping = after.stopping
    if stopping is None:
        return []
    reason = printable(stopping.reason)
    if stopping.force or stopping.grace_seconds <= 0:
        return [Remark(f"killing all processes: {reason}", "warning")]
    return [Remark(f"stopping all processes, SIGKILL in {seconds(stopping.grace_seconds)}: {reason}", "warning")]


def seconds(number: float) -> str:
    """Give the seconds of a countdown."""
    whole = max(0, int(number + 0.999))  # 11.2 s left are still "12 s": it must never say 0 while there is time
    return f"{whole} s" if whole < 120 else clock(whole)


def _note(before: RunView, after: RunView, event: Event) -> list[Remark]:
    level = "warning" if event["level"] == "warning" else "info"
    word = "warning: " if level == "warning" else ""
    first, *others = printable_lines(str(event["text"]))
    return [Remark(word + first, level), *(Remark(f"  {line}", level) for line in others)]


_SPEAK: Mapping[str, Callable[[RunView, RunView, Event], list[Remark]]] = {
    "run_started": _run_started,
    "node": _node,
    "process_started": _process_started,
    "process_exited": _process_exited,
    "stopping": _stopping,
    "note": _note,
}
