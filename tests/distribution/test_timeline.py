"""Where a start went, computed from events and rows that are written as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.slowness import changes, shares, slower, slowest_of, spreads
from regiment.distribution.startphase import StartPhase
from regiment.distribution.timeline import Timeline, make_timelines
from regiment.distribution.trace import make_trace
from regiment.jobs.dataclass import replace
from regiment.jobs.ledger import LedgerRow, RowKind

QUEUED = 0.5
"""Seconds from the run's making to where its events count from."""
Event = dict[str, Any]


def started(at: float, attempt: int = 0, nodes: int = 2, slots: int = 1) -> Event:
    return {
        "at": at,
        "event": "run_started",
        "attempt": attempt,
        "nodes": [{"index": index, "nodeId": f"node-{index}"} for index in range(nodes)],
        "processes": [{"rank": rank, "nodeRank": rank // slots} for rank in range(nodes * slots)],
    }


def node(at: float, index: int, state: str) -> Event:
    return {"at": at, "event": "node", "nodeRank": index, "nodeId": f"node-{index}", "state": state}


def process(at: float, rank: int) -> Event:
    return {"at": at, "event": "process_started", "rank": rank, "pid": 100 + rank}


TWO_NODES = (
    started(0.1),
    node(0.2, 0, "ready"),
    node(0.6, 0, "preparing"),
    node(0.6, 1, "preparing"),
    node(0.7, 0, "prepared"),
    node(0.9, 0, "running"),
    node(0.9, 1, "running"),
    process(1.0, 0),
    process(1.1, 1),
)


def of_rank(rank: int, kind: RowKind, begin: float, end: float | None = None, text: str = "") -> LedgerRow:
    return LedgerRow(rank, kind, begin, end, rank=rank, pid=100 + rank, text=text)


def trained(rank: int, imports: float, own: float = 0.0, met: float = 5.0) -> Iterator[LedgerRow]:
    """What a process tells that imports for so long, and then does something of its own until it meets the others."""
    yield of_rank(rank, RowKind.INTERPRETER, 0.1)
    yield of_rank(rank, RowKind.IMPORT, 0.2, 0.2 + imports, "torch")
    begin = 0.2 + imports + own
    yield of_rank(rank, RowKind.RENDEZVOUS, begin, None, "init_process_group")
    yield of_rank(rank, RowKind.RENDEZVOUS, begin, met, "init_process_group")
    yield of_rank(rank, RowKind.FIRST_STEP, met + 1.0)


def timeline(events: Sequence[Event] = TWO_NODES, rows: Iterable[LedgerRow] = (), now: float | None = None) -> Timeline:
    return make_timelines(events, lambda attempt: rows, QUEUED, now)[-1]


def seconds(found: Timeline, rank: int) -> dict[str, float]:
    share = next(share for share in shares(found) if share.rank == rank)
    return {phase.value: round(share.seconds(phase), 6) for phase in dict.fromkeys(s.phase for s in share.spans)}


def test_what_the_coordinator_saw_is_told_of_each_process_and_the_rest_is_left_out() -> None:
    found = timeline()
    assert seconds(found, 0) == {
        "queued": 0.6,
        "node ready": 0.1,
        "roll call": 0.6,  # For the other agent, and then for the other node to be prepared.
        "snapshot": 0.1,
        "spawned": 0.1,
    }
    assert seconds(found, 1) == {"queued": 0.6, "node ready": 0.5, "snapshot": 0.3, "roll call": 0.0, "spawned": 0.2}
    assert [phase.value for phase in found.known] == ["queued", "node ready", "snapshot", "roll call", "spawned"]


def test_what_a_node_measured_is_put_behind_what_it_is_counted_from() -> None:
    rows = [
        LedgerRow(1, RowKind.INPUTS, 0.05, 0.3),
        LedgerRow(1, RowKind.PRELOAD, 0.0, 0.15, text="torch"),
        *trained(0, 2.0, own=0.5),
        *trained(1, 2.0),
    ]
    found = timeline(rows=rows)
    assert seconds(found, 1)["snapshot"] == 0.05
    assert seconds(found, 1)["inputs"] == 0.25
    assert seconds(found, 1)["preload"] == 0.15
    assert seconds(found, 1)["spawned"] == 0.05
    inside = {key: value for key, value in seconds(found, 0).items() if key in _INSIDE}
    assert inside == {
        "interpreter up": 0.1,
        "imports": 2.1,
        "own code": 0.5,
        "rendezvous": 2.3,
        "first step": 1.0,
    }
    assert found.known == tuple(StartPhase)


_INSIDE = ("interpreter up", "imports", "own code", "rendezvous", "first step")


def test_an_import_after_the_rendezvous_is_none_of_the_start() -> None:
    rows = [*trained(0, 2.0), of_rank(0, RowKind.IMPORT, 6.0, 9.0, "late")]
    assert seconds(timeline(rows=rows), 0)["imports"] == 2.1


def test_of_the_pythons_of_a_rank_the_one_that_trains_is_meant() -> None:
    before = [replace(row, pid=7) for row in (*trained(0, 0.5),) if row.kind is not RowKind.FIRST_STEP]
    rows = [*before, *trained(0, 2.0), LedgerRow(0, RowKind.INTERPRETER, 3.0, rank=0, pid=8)]
    assert seconds(timeline(rows=rows), 0)["imports"] == 2.1


def test_the_program_knows_best_which_step_is_its_first() -> None:
    rows = [*trained(0, 2.0), LedgerRow(0, RowKind.MARK, 8.0, rank=0, pid=9, text="first step")]
    assert seconds(timeline(rows=rows), 0)["first step"] == 3.0


def test_what_is_not_over_lasts_until_now_or_until_the_last_event() -> None:
    waiting = [row for row in trained(0, 2.0) if row.end is not None or row.kind is not RowKind.RENDEZVOUS]
    waiting = [of_rank(0, RowKind.RENDEZVOUS, 2.2), *(r for r in waiting if r.kind is RowKind.INTERPRETER)]
    found = timeline(rows=waiting, now=10.0)
    rendezvous = found.nodes[0].ranks[0].spans[-1]
    assert (rendezvous.phase, rendezvous.is_over) == (StartPhase.RENDEZVOUS, False)
    assert rendezvous.seconds == pytest.approx(10.0 - 1.0 - 2.2)
    missing = timeline(TWO_NODES[:2])
    assert [(span.phase.value, span.is_over) for span in missing.nodes[1].spans] == [
        ("queued", True),
        ("node ready", False),
    ]


def test_a_restart_is_counted_from_where_the_attempt_before_began_to_be_stopped() -> None:
    again = (started(4.0, attempt=1), node(4.1, 0, "preparing"), node(4.1, 1, "preparing"), node(4.2, 0, "running"))
    events = (*TWO_NODES, {"at": 3.0, "event": "stopping"}, {"at": 3.5, "event": "note"}, *again)
    first, second = make_timelines(events, lambda attempt: (), QUEUED, None)
    assert (first.attempt, first.offset, second.attempt, second.offset) == (0, 0.0, 1, 3.5)
    assert seconds(first, 0)["spawned"] == 0.1
    spans = {span.phase: span for span in second.nodes[0].spans}
    assert spans[StartPhase.QUEUED].seconds == pytest.approx(1.0)
    assert StartPhase.NODE_READY not in spans


def test_the_node_that_the_others_waited_for_is_the_slowest_with_the_phase_that_made_it_so() -> None:
    found = slowest_of(timeline(rows=[*trained(0, 2.0), *trained(1, 4.0)]))
    assert found is not None and found.stands_out
    assert (found.share.node.node_id, found.share.rank, found.phase) == ("node-1", 1, StartPhase.IMPORTS)
    assert [found.seconds, found.usual] == pytest.approx([4.1, 2.1])
    # The one that waits longest in the rendezvous is the fastest.
    found = slowest_of(timeline(rows=[*trained(0, 2.0, own=2.9), *trained(1, 2.0)]))
    assert found is not None and (found.share.rank, found.phase) == (0, StartPhase.OWN_CODE)


def test_a_node_that_never_came_is_the_slowest() -> None:
    found = slowest_of(timeline(TWO_NODES[:2], now=60.0))
    assert found is not None and found.stands_out
    assert (found.share.node.node_id, found.share.rank, found.phase) == ("node-1", None, StartPhase.NODE_READY)


def test_who_has_not_come_where_the_others_wait_is_the_slowest() -> None:
    here = [of_rank(0, RowKind.INTERPRETER, 0.1), of_rank(0, RowKind.RENDEZVOUS, 1.0)]
    missing = [of_rank(1, RowKind.INTERPRETER, 0.1), of_rank(1, RowKind.IMPORT, 0.2, 1.2, "torch")]
    found = slowest_of(timeline(rows=[*here, *missing], now=60.0))
    assert found is not None and (found.share.rank, found.phase) == (1, StartPhase.OWN_CODE)
    assert not found.share.spans[-1].is_over
    # So it is when all have ended over it. Where nobody waits nobody is missed.
    ended = (*TWO_NODES, *({"at": 5.0, "event": "process_exited", "rank": rank} for rank in range(2)))
    assert seconds(timeline(ended, [*here, *missing], now=60.0), 1)["own code"] == pytest.approx(5.0 - 1.1 - 1.2)
    assert "own code" not in seconds(timeline(rows=missing, now=60.0), 1)


def test_with_one_node_the_processes_are_compared_and_with_one_process_nothing_is() -> None:
    up = (node(0.2, 0, "preparing"), node(0.2, 0, "running"))
    events = (started(0.1, nodes=1, slots=3), *up, *(process(0.3, rank) for rank in range(3)))
    rows = [replace(row, node=0) for rank, imports in enumerate((1.0, 3.0, 1.0)) for row in trained(rank, imports)]
    found = slowest_of(timeline(events, rows))
    assert found is not None and (found.share.rank, found.phase) == (1, StartPhase.IMPORTS)
    alone = (started(0.1, nodes=1), *up, process(0.3, 0))
    assert slowest_of(timeline(alone)) is None


def test_nodes_that_are_alike_have_none_that_stands_out() -> None:
    events = (started(0.1), node(0.55, 0, "ready"), *TWO_NODES[2:4], node(0.88, 0, "prepared"), *TWO_NODES[5:-1])
    found = slowest_of(timeline((*events, process(1.05, 1)), [*trained(0, 2.0), *trained(1, 2.05)]))
    assert found is not None and not found.stands_out


def test_the_spread_of_a_phase_names_who_took_longest() -> None:
    found = {spread.phase: spread for spread in spreads(timeline(rows=[*trained(0, 2.0), *trained(1, 4.0)]))}
    imports = found[StartPhase.IMPORTS]
    assert [imports.least, imports.usual, imports.most] == pytest.approx([2.1, 3.1, 4.1])
    assert imports.worst.rank == 1


def test_a_comparison_names_what_got_slower_and_last_who_only_waits_for_it() -> None:
    quick = timeline(rows=[*trained(0, 2.0), *trained(1, 2.0)])
    slow = timeline(rows=[*trained(0, 2.0, met=8.0), *trained(1, 4.0, met=8.0)])
    assert [change.phase.value for change in slower(changes(slow, quick))] == ["imports", "rendezvous"]
    assert slower(changes(quick, slow)) == []
    assert [change.phase for change in changes(slow, timeline())] == list(slow.known)
    assert all(change.other is None for change in changes(slow, timeline()) if change.phase is StartPhase.IMPORTS)


times = st.floats(0, 100, allow_nan=False)


@given(st.lists(times, min_size=9, max_size=9), st.lists(times, min_size=6, max_size=6))
def test_whatever_the_clocks_say_phases_follow_one_another_and_the_trace_is_in_order(
    at: list[float], inside: list[float]
) -> None:
    moments = sorted(at)
    events = [{**event, "at": moment} for event, moment in zip(TWO_NODES, moments, strict=True)]
    kinds = (RowKind.INTERPRETER, RowKind.IMPORT, RowKind.RENDEZVOUS, RowKind.RENDEZVOUS, RowKind.FIRST_STEP)
    rows = [of_rank(0, kind, begin, None) for kind, begin in zip(kinds, inside, strict=False)]
    rows += [of_rank(1, kind, begin, begin + inside[0]) for kind, begin in zip(kinds, inside, strict=False)]
    found = timeline(events, rows)
    for share in shares(found):
        assert all(span.begin <= span.end for span in share.spans)
    events = [event for event in make_trace("r", [found])["traceEvents"] if event["ph"] != "M"]
    assert [event["ts"] for event in events] == sorted(event["ts"] for event in events)
    assert all(event.get("dur", 0) >= 0 for event in events)


def test_a_trace_has_a_process_for_each_node_a_thread_for_each_rank_and_imports_within_their_phase() -> None:
    trace = make_trace("r", [timeline(rows=[*trained(0, 2.0), of_rank(0, RowKind.MARK, 7.0, text="warm")])])
    events = trace["traceEvents"]
    names = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names[1, 0] == "node"
    assert names[1, 2] == "rank 1"
    by_name = {event["name"]: event for event in events if event["pid"] == 0 and event["ph"] != "M"}
    imports, module = by_name["imports"], by_name["torch"]
    assert (imports["ph"], imports["tid"], module["tid"]) == ("X", 1, 1)
    assert imports["ts"] <= module["ts"]
    assert module["ts"] + module["dur"] <= imports["ts"] + imports["dur"]
    assert (by_name["warm"]["ph"], by_name["warm"]["s"]) == ("i", "t")
    assert by_name["spawned"]["ts"] == 1_400_000
