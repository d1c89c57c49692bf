"""What a process spends its start on, from what it has told of itself: the phases after `spawned`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from regiment.jobs.ledger import LedgerRow, RowKind

from .startphase import Span, StartPhase

FIRST_STEP = StartPhase.FIRST_STEP.value
"""The mark that stands for the phase of this name."""


def one_process(rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Give the rows of the process that is the rank, with the marks of all.

    A rank may run several Pythons, before the program or from it. The one that gets furthest is meant; of several, the
    first.
    """
    processes = list(dict.fromkeys(row.pid for row in rows if row.kind is not RowKind.MARK))
    furthest = max(processes, key=lambda pid: _progress(rows, pid), default=None)
    return [row for row in rows if row.pid == furthest or row.kind is RowKind.MARK]


def _progress(rows: Sequence[LedgerRow], pid: int | None) -> tuple[bool, bool]:
    kinds = {row.kind for row in rows if row.pid == pid}
    return RowKind.FIRST_STEP in kinds, RowKind.RENDEZVOUS in kinds


def is_waiting(rows: Sequence[LedgerRow]) -> bool:
    """Say whether a process is in its first rendezvous."""
    meeting = _meeting([row for row in rows if row.kind is RowKind.RENDEZVOUS])
    return meeting is not None and meeting.end is None


def spans_within(rows: Sequence[LedgerRow], horizon: float, *, is_missed: bool) -> Iterator[Span]:
    """Give the phases within a process, in seconds since it was started; what is not known is left out.

    What is not over lasts until the `horizon`. `is_missed` says that others wait in the rendezvous, or did to the end:
    then a process that has not come there was on the way to it.
    """
    by_kind: dict[RowKind, list[LedgerRow]] = {}
    for row in rows:
        by_kind.setdefault(row.kind, []).append(row)
    meeting = _meeting(by_kind.get(RowKind.RENDEZVOUS, []))
    step = _first_step(rows)
    at = None
    for row in by_kind.get(RowKind.INTERPRETER, [])[:1]:
        at = max(0.0, row.begin)
        yield Span(StartPhase.INTERPRETER, 0.0, at)
        until = min((row.begin for row in (meeting, step) if row is not None), default=None)
        imports = [i for i in by_kind.get(RowKind.IMPORT, ()) if i.end and (until is None or i.end <= until)]
        is_missed = is_missed and until is None
        if imports or meeting is not None or is_missed:
            done = max((i.end or 0.0 for i in imports), default=at)
            yield Span(StartPhase.IMPORTS, at, max(at, done), text=_longest(imports))
            at = max(at, done)
            if is_missed:
                yield Span(StartPhase.OWN_CODE, at, max(at, horizon), is_over=False)
    if meeting is not None:
        if at is not None:
            yield Span(StartPhase.OWN_CODE, at, max(at, meeting.begin))
        end = horizon if meeting.end is None else meeting.end
        yield Span(StartPhase.RENDEZVOUS, meeting.begin, max(meeting.begin, end), meeting.end is not None, meeting.text)
        at = meeting.end
    if step is not None:
        begin = min(at or 0.0, step.begin)
        yield Span(StartPhase.FIRST_STEP, begin, step.begin, text=step.text)


def _meeting(rows: Sequence[LedgerRow]) -> LedgerRow | None:
    """Give the first rendezvous: the row of its end, or where that is still to come the one of its beginning."""
    return min(rows, key=lambda row: (row.begin, row.end is None), default=None)


def _first_step(rows: Sequence[LedgerRow]) -> LedgerRow | None:
    """Give the first step: the program's own word for it, where it says one, knows best."""
    marks = [row for row in rows if row.kind is RowKind.MARK and row.text == FIRST_STEP]
    return next(iter(marks or [row for row in rows if row.kind is RowKind.FIRST_STEP]), None)


def _longest(imports: Sequence[LedgerRow]) -> str:
    longest = max(imports, key=lambda row: (row.end or 0.0) - row.begin, default=None)
    return "" if longest is None else longest.text
