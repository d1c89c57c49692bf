"""A timeline as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from regiment.distribution.slowness import Change, Share, Slowest, shares, slower, slowest_of, spreads
from regiment.distribution.startphase import WAITING, StartPhase
from regiment.distribution.timeline import Timeline
from regiment.jobs.words import counted

from ..view.escape import printable

_MOST_NODES = 16
"""So many have a line each; of more, those that took longest."""
_INSIDE = (
    StartPhase.INTERPRETER,
    StartPhase.IMPORTS,
    StartPhase.OWN_CODE,
    StartPhase.RENDEZVOUS,
    StartPhase.FIRST_STEP,
)
"""Phases that only the process itself can tell of."""


def timeline_text(run_id: str, timeline: Timeline, attempts: int) -> str:
    """Tell which node took longest and what each spent its time on."""
    return "\n".join(_lines(run_id, timeline, attempts))


def _lines(run_id: str, timeline: Timeline, attempts: int) -> Iterator[str]:
    yield tabulate(
        [("run", run_id), *_attempt(timeline, attempts), ("slowest", _slowest_text(slowest_of(timeline)))],
        tablefmt="plain",
        disable_numparse=True,
    )
    yield ""
    yield from _table(timeline)
    missing = [phase.value for phase in _INSIDE if phase not in timeline.known]
    if missing:
        yield ""
        yield f"not known: {', '.join(missing)}{_hint(timeline)}"


def _hint(timeline: Timeline) -> str:
    """Say how the rest can be known, where nothing is known of what went on within the processes."""
    return "" if StartPhase.INTERPRETER in timeline.known else "; 'regiment run --ledger' has them recorded"


def _attempt(timeline: Timeline, attempts: int) -> Iterator[tuple[str, str]]:
    if attempts > 1:
        yield "attempt", f"{timeline.attempt} of 0 to {attempts - 1}; --attempt N shows another"


def _slowest_text(slowest: Slowest | None) -> str:
    if slowest is None:
        return "there is one process, and nothing to compare it with"
    share = slowest.share
    node = share.node.node_id
    took = f"{_seconds(slowest.seconds)} s for '{slowest.phase.value}'{_about(slowest.text)}"
    text = f"{_who(share)}: {took}, where others took {_seconds(slowest.usual)} s"
    return text if slowest.stands_out else f"{node}, but no node stands out ({text})"


def _about(text: str) -> str:
    return f" ({printable(text)})" if text else ""


def _who(share: Share) -> str:
    return share.node.node_id if share.rank is None else f"{share.node.node_id}, rank {share.rank}"


def _table(timeline: Timeline) -> Iterator[str]:
    found = _slowest_of_each(timeline)
    shown = sorted(found, key=lambda share: -share.work)[:_MOST_NODES] if len(found) > _MOST_NODES else found
    phases = timeline.known
    rows = [(_name(share), *(_cell(share, phase) for phase in phases), _seconds(share.end)) for share in shown]
    if len(found) > 1 or len(shares(timeline)) > 1:
        every = spreads(timeline)
        for title, key in (("min", "least"), ("median", "usual"), ("max", "most")):
            rows.append((title, *(_seconds(getattr(spread, key)) for spread in every), ""))
    headers = ("SLOWEST RANK OF", *(phase.value.upper() for phase in phases), "AT")
    yield tabulate(
        rows,
        headers=headers,
        tablefmt="simple",
        disable_numparse=True,
        colalign=("left", *("right",) * (len(phases) + 1)),
    )
    if len(shown) < len(found):
        yield f"and {counted(len(found) - len(shown), 'faster node')}; -o json has all"


def _slowest_of_each(timeline: Timeline) -> list[Share]:
    found: dict[int, Share] = {}
    for share in shares(timeline):
        known = found.get(share.node.index)
        if known is None or share.work > known.work:
            found[share.node.index] = share
    return list(found.values())


def _name(share: Share) -> str:
    return share.node.node_id if share.rank is None else f"{share.node.node_id} ({share.rank})"


def _cell(share: Share, phase: StartPhase) -> str:
    spans = [span for span in share.spans if span.phase is phase]
    if not spans:
        return "-"
    return _seconds(share.seconds(phase)) + ("" if spans[-1].is_over else " ...")


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds < 10 else f"{seconds:.1f}"


def difference_text(ids: tuple[str, str], found: Sequence[Change]) -> str:
    """Tell which phases take longer in one run than in another, and then all of them."""
    one, other = ids
    rows = [
        (
            change.phase.value,
            "-" if change.one is None else _seconds(change.one.most),
            "-" if change.other is None else _seconds(change.other.most),
            "" if change.seconds is None else f"{change.seconds:+.3f}",
            "" if change.one is None else _who(change.one.worst),
        )
        for change in found
    ]
    table = tabulate(
        rows,
        headers=("LONGEST", one, other, "CHANGE", f"SLOWEST IN {one}"),
        tablefmt="simple",
        disable_numparse=True,
        colalign=("left", "right", "right", "right", "left"),
    )
    return "\n".join((*_slower_lines(ids, slower(found)), "", table))


def _slower_lines(ids: tuple[str, str], found: Sequence[Change]) -> Iterator[str]:
    one, other = ids
    if not found:
        yield f"nothing at the start of {one} takes noticeably longer than in {other}"
    for change in found:
        assert change.one is not None and change.other is not None
        worst = change.one.worst
        waits = "; it waits there for the slowest" if change.phase in WAITING else ""
        yield (
            f"{one} is {_seconds(change.one.most - change.other.most)} s slower in '{change.phase.value}': "
            f"{_who(worst)} took {_seconds(change.one.most)} s{_about(worst.text(change.phase))}, "
            f"in {other} the longest was {_seconds(change.other.most)} s{waits}"
        )
