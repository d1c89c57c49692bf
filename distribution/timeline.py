"""Where a start went: for each node and process of an attempt the phases one after the other.

What the coordinator saw is on its clock, from the run's events. What a node measured (`jobs/ledger.py`) is in seconds
of the node's clock since one of those events, and is put behind it: no two clocks are compared, and what is wrong is
the time that a message took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from regiment.jobs.dataclass import dataclass, replace
from regiment.jobs.ledger import LedgerRow, RowKind

from .startphase import Span, StartPhase
from .within import is_waiting, one_process, spans_within

Event = Mapping[str, Any]
"""One line of `events.jsonl`."""
_UP = ("ready", "preparing")
_PREPARED = ("prepared", "running")


@dataclass(frozen=True)
class Detail:
    """Something within the phases: an import, or a mark of the program's."""

    text: str
    begin: float
    end: float | None = None
    """None for a mark."""


@dataclass(frozen=True)
class RankStart:
    """How a process came up."""

    rank: int
    spans: tuple[Span, ...]
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True)
class NodeStart:
    """How a node came up."""

    index: int
    node_id: str
    spans: tuple[Span, ...]
    ranks: tuple[RankStart, ...]


@dataclass(frozen=True)
class Timeline:
    """How an attempt came up."""

    attempt: int
    offset: float
    """Its beginning, in seconds since the run was made."""
    nodes: tuple[NodeStart, ...]

    @property
    def known(self) -> tuple[StartPhase, ...]:
        """The phases that are known of anybody, in order."""
        found = {span.phase for node in self.nodes for span in node.spans}
        found |= {span.phase for node in self.nodes for rank in node.ranks for span in rank.spans}
        return tuple(phase for phase in StartPhase if phase in found)


def make_timelines(
    events: Iterable[Event], rows: Callable[[int], Iterable[LedgerRow]], queued: float, now: float | None
) -> list[Timeline]:
    """Compute the timeline of each attempt, in order.

    Args:
        events: All of a run's.
        rows: Gives what the nodes measured of an attempt.
        queued: Seconds from the making of the run to the beginning of its coordinator, where events count from.
        now: Where the events' clock is, for a run that lives; else what is not over lasts until the last event.
    """
    found = []
    zero = -queued
    for part in _attempts(events):
        horizon = float(part[-1]["at"])
        found.append((part, zero, horizon))
        zero = next((float(event["at"]) for event in part if event["event"] == "stopping"), horizon)
    if found and now is not None:
        part, zero, horizon = found[-1]
        found[-1] = part, zero, max(now, horizon)
    return [_timeline(_Attempt(part, rows(part[0]["attempt"]), z, h), z + queued) for part, z, h in found]


def _attempts(events: Iterable[Event]) -> list[list[Event]]:
    found: list[list[Event]] = []
    for event in events:
        if event["event"] == "run_started":
            found.append([])
        if found:
            found[-1].append(event)
    return found


def _timeline(attempt: _Attempt, offset: float) -> Timeline:
    start = attempt.start
    return Timeline(start["attempt"], offset, tuple(attempt.node(n["index"], n["nodeId"]) for n in start["nodes"]))


class _Attempt:
    """What an attempt's events and rows say, looked up by node and rank."""

    def __init__(self, events: Sequence[Event], rows: Iterable[LedgerRow], zero: float, horizon: float) -> None:
        self.start = events[0]
        self._zero = zero
        self._horizon = horizon - zero
        self._states: dict[tuple[int, str], float] = {}
        self._started: dict[int, float] = {}
        self._ended: dict[int, float] = {}
        for event in events:
            if event["event"] == "node":
                self._states.setdefault((event["nodeRank"], event["state"]), event["at"] - zero)
            elif event["event"] == "process_started":
                self._started.setdefault(event["rank"], event["at"] - zero)
            elif event["event"] == "process_exited":
                self._ended.setdefault(event["rank"], event["at"] - zero)
        self._node_rows: dict[tuple[int, RowKind], LedgerRow] = {}
        self._rank_rows: dict[int, list[LedgerRow]] = {}
        for row in rows:
            if row.rank is None:
                self._node_rows[row.node, row.kind] = row
            else:
                self._rank_rows.setdefault(row.rank, []).append(row)
        self._are_waiting = any(is_waiting(each) for each in self._rank_rows.values())

    def node(self, index: int, node_id: str) -> NodeStart:
        """Give how a node and its processes came up."""
        spans = tuple(self._node_spans(index))
        ranks = [process["rank"] for process in self.start["processes"] if process["nodeRank"] == index]
        ordered = spans[-1].end if spans and spans[-1].is_over and self._at(index, "running") is not None else None
        return NodeStart(index, node_id, spans, tuple(self._rank(rank, ordered) for rank in ranks))

    def _at(self, index: int, *states: str) -> float | None:
        return min((self._states[index, state] for state in states if (index, state) in self._states), default=None)

    def _span(self, phase: StartPhase, begin: float, end: float | None, text: str = "") -> Span:
        # Messages cross on their way: nothing ends before it began.
        return Span(phase, begin, max(begin, self._horizon if end is None else end), end is not None, text)

    def _node_spans(self, index: int) -> Iterator[Span]:
        began = self.start["at"] - self._zero
        yield self._span(StartPhase.QUEUED, 0.0, began)
        up, ordered, prepared = self._at(index, *_UP), self._at(index, "preparing"), self._at(index, *_PREPARED)
        if self.start["attempt"] == 0 or self._at(index, "starting", "ready") is not None:
            yield self._span(StartPhase.NODE_READY, began, up)
        if up is None:
            return
        if ordered is None or ordered > up:
            yield self._span(StartPhase.ROLL_CALL, up, ordered)
        if ordered is None:
            return
        yield from self._preparing(index, ordered, prepared)
        running = self._at(index, "running")
        if prepared is not None:
            yield self._span(StartPhase.ROLL_CALL, prepared, running)
        preload = self._node_rows.get((index, RowKind.PRELOAD))
        if preload is not None and running is not None:
            end = None if preload.end is None else running + preload.end
            yield self._span(StartPhase.PRELOAD, running, end, preload.text)

    def _preparing(self, index: int, ordered: float, prepared: float | None) -> Iterator[Span]:
        inputs = self._node_rows.get((index, RowKind.INPUTS))
        fetching = prepared if inputs is None else ordered + inputs.begin
        yield self._span(StartPhase.SNAPSHOT, ordered, fetching)
        if inputs is not None and fetching is not None:
            yield self._span(StartPhase.INPUTS, fetching, prepared)

    def _rank(self, rank: int, ordered: float | None) -> RankStart:
        if ordered is None:
            return RankStart(rank, ())
        started = self._started.get(rank)
        spawned = self._span(StartPhase.SPAWNED, ordered, started)
        if started is None:
            return RankStart(rank, (spawned,))
        rows = self._rank_rows.get(rank, [])
        until = self._ended.get(rank, self._horizon)
        found = spans_within(one_process(rows), until - started, is_missed=self._are_waiting)
        inside = tuple(_moved(span, started) for span in found)
        details = tuple(
            Detail(row.text, started + row.begin, None if row.end is None else started + row.end)
            for row in rows
            if row.kind in (RowKind.IMPORT, RowKind.MARK)
        )
        return RankStart(rank, (spawned, *inside), details)


def _moved(span: Span, by: float) -> Span:
    return replace(span, begin=span.begin + by, end=span.end + by)
