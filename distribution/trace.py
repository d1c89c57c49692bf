"""A run's start as a trace for Perfetto (https://ui.perfetto.dev) or chrome://tracing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .startphase import Span
from .timeline import Detail, NodeStart, Timeline

TraceEvent = dict[str, Any]
_NODE = 0
"""The number of the line with what is the node's own; rank R has R + 1."""


def make_trace(run_id: str, timelines: Iterable[Timeline]) -> dict[str, Any]:
    """Give attempts of a run as one trace: a process for each node, a thread for each rank.

    The form is the JSON object of Google's "Trace Event Format"
    (https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU): complete events (`ph` X) with
    `ts` and `dur` in microseconds, instant events (i), and metadata (M) for names.
    """
    found = list(timelines)
    nodes = {node.index: node for timeline in found for node in timeline.nodes}
    names = [event for node in nodes.values() for event in _names(node)]
    events = [event for timeline in found for node in timeline.nodes for event in _node_events(timeline, node)]
    events.sort(key=lambda event: (event["ts"], -event.get("dur", 0)))
    return {"traceEvents": [*names, *events], "displayTimeUnit": "ms", "otherData": {"run": run_id}}


def _names(node: NodeStart) -> Iterator[TraceEvent]:
    yield _name("process_name", node, _NODE, node.node_id)
    yield _name("thread_name", node, _NODE, "node")
    for rank in node.ranks:
        yield _name("thread_name", node, rank.rank + 1, f"rank {rank.rank}")


def _name(what: str, node: NodeStart, line: int, name: str) -> TraceEvent:
    return {"name": what, "ph": "M", "pid": node.index, "tid": line, "args": {"name": name}}


def _node_events(timeline: Timeline, node: NodeStart) -> Iterator[TraceEvent]:
    for line, spans in ((_NODE, node.spans), *((rank.rank + 1, rank.spans) for rank in node.ranks)):
        for span in spans:
            yield _phase(timeline, node, line, span)
    for rank in node.ranks:
        for detail in rank.details:
            yield _detail(timeline, node, rank.rank + 1, detail)


def _phase(timeline: Timeline, node: NodeStart, line: int, span: Span) -> TraceEvent:
    known: dict[str, Any] = {"attempt": timeline.attempt}
    if span.text:
        known["detail"] = span.text
    if not span.is_over:
        known["isOver"] = False
    event = _event(timeline, node, line, span.phase.value, span.begin)
    return {**event, "ph": "X", "cat": "phase", "dur": _microseconds(span.seconds), "args": known}


def _detail(timeline: Timeline, node: NodeStart, line: int, detail: Detail) -> TraceEvent:
    event = _event(timeline, node, line, detail.text, detail.begin)
    if detail.end is None:
        return {**event, "ph": "i", "cat": "mark", "s": "t"}
    return {**event, "ph": "X", "cat": "import", "dur": _microseconds(detail.end - detail.begin)}


def _event(timeline: Timeline, node: NodeStart, line: int, name: str, begin: float) -> TraceEvent:
    return {"name": name, "pid": node.index, "tid": line, "ts": _microseconds(timeline.offset + begin)}


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
