"""`regiment show RUN --timeline`, `--trace FILE` and `--timeline --diff OTHER`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regiment.distribution.slowness import Change, PhaseSpread, Share, changes, slowest_of, spreads
from regiment.distribution.startphase import Span, StartPhase
from regiment.distribution.timeline import NodeStart, Timeline
from regiment.distribution.trace import make_trace
from regiment.jobs.errors import UserError
from regiment.jobs.files import replace_json
from regiment.jobs.record import RunRecord
from regiment.jobs.workspace import RunFolder

from ..timelines import timelines
from .output import answer, say
from .timeline_text import difference_text, timeline_text

Known = tuple[RunFolder, RunRecord]


def show_timeline(options: argparse.Namespace, known: Known) -> None:
    """Tell where the time of an attempt's start went."""
    found = timelines(*known)
    run_id = known[1].run_id
    if options.trace is not None:
        _write_trace(
            Path(options.trace), run_id, found if options.attempt is None else [_chosen(options, known, found)]
        )
    if not options.timeline:
        return
    timeline = _chosen(options, known, found)
    if options.output == "table" and options.query is None:
        print(timeline_text(run_id, timeline, len(found)))
    else:
        answer(options, _plain(run_id, timeline, len(found)))


def show_timeline_difference(options: argparse.Namespace, one: Known, other: Known) -> None:
    """Tell what takes longer at the start of a run than it did in another one."""
    timeline, reference = (_chosen(options, known, timelines(*known)) for known in (one, other))
    found = changes(timeline, reference)
    ids = (one[1].run_id, other[1].run_id)
    if options.output == "table" and options.query is None:
        print(difference_text(ids, found))
    else:
        answer(options, {"runId": ids[0], "otherRunId": ids[1], "phases": [_plain_change(change) for change in found]})


def _chosen(options: argparse.Namespace, known: Known, found: Sequence[Timeline]) -> Timeline:
    wanted = found[-1].attempt if options.attempt is None else options.attempt
    for timeline in found:
        if timeline.attempt == wanted:
            return timeline
    raise UserError(f"run {known[1].run_id} has no attempt {wanted}; it has 0 to {found[-1].attempt}")


def _write_trace(path: Path, run_id: str, found: Sequence[Timeline]) -> None:
    try:
        replace_json(path, make_trace(run_id, found))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; name another file with --trace") from None
    say(f"regiment: wrote {path}; https://ui.perfetto.dev and chrome://tracing open it")


# --- as data ----------------------------------------------------------------------------------------


def _plain(run_id: str, timeline: Timeline, attempts: int) -> dict[str, Any]:
    slowest = slowest_of(timeline)
    return {
        "runId": run_id,
        "attempt": timeline.attempt,
        "attempts": attempts,
        "slowest": slowest
        and {
            "nodeId": slowest.share.node.node_id,
            "rank": slowest.share.rank,
            "phase": slowest.phase.value,
            "seconds": _rounded(slowest.seconds),
            "usualSeconds": _rounded(slowest.usual),
            "standsOut": slowest.stands_out,
            "text": slowest.text,
        },
        "phases": [_plain_spread(spread) for spread in spreads(timeline)],
        "unknown": [phase.value for phase in StartPhase if phase not in timeline.known],
        "nodes": [_plain_node(node) for node in timeline.nodes],
    }


def _plain_node(node: NodeStart) -> dict[str, Any]:
    ranks = [
        {
            "rank": rank.rank,
            "phases": [_plain_span(span) for span in rank.spans],
            "details": [
                {"text": detail.text, "begin": _rounded(detail.begin), "end": _rounded(detail.end)}
                for detail in rank.details
            ],
        }
        for rank in node.ranks
    ]
    return {"nodeId": node.node_id, "phases": [_plain_span(span) for span in node.spans], "ranks": ranks}


def _plain_span(span: Span) -> dict[str, Any]:
    return {
        "phase": span.phase.value,
        "begin": _rounded(span.begin),
        "end": _rounded(span.end) if span.is_over else None,
        "seconds": _rounded(span.seconds),
        "text": span.text,
    }


def _plain_spread(spread: PhaseSpread) -> dict[str, Any]:
    return {
        "phase": spread.phase.value,
        "minSeconds": _rounded(spread.least),
        "medianSeconds": _rounded(spread.usual),
        "maxSeconds": _rounded(spread.most),
        **_plain_who(spread.worst),
    }


def _plain_who(share: Share) -> dict[str, Any]:
    return {"nodeId": share.node.node_id, "rank": share.rank}


def _plain_change(change: Change) -> dict[str, Any]:
    return {
        "phase": change.phase.value,
        "maxSeconds": change.one and _rounded(change.one.most),
        "otherMaxSeconds": change.other and _rounded(change.other.most),
        "isSlower": change.is_slower,
        **(_plain_who(change.one.worst) if change.one is not None else {"nodeId": None, "rank": None}),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
