"""Runs and the runs below them, in the order in which a tree of them is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from regiment.jobs.record import RunRecord


def family_trees(roots: Sequence[RunRecord], below: Iterable[RunRecord]) -> Iterator[tuple[int, RunRecord]]:
    """Give each run and, after it, those below it, the oldest first, with how deep each is.

    A root that is below another root is shown there, and not once more.
    """
    known = {record.run_id: record for record in (*below, *roots)}
    children: dict[str | None, list[RunRecord]] = {}
    for record in sorted(known.values(), key=lambda record: (record.created_utc, record.run_id)):
        children.setdefault(record.parent_run_id, []).append(record)
    for root in roots:
        if root.parent_run_id not in known:
            yield from _tree(root, children)


def _tree(root: RunRecord, children: dict[str | None, list[RunRecord]]) -> Iterator[tuple[int, RunRecord]]:
    waiting = [(0, root)]
    while waiting:
        depth, record = waiting.pop()
        yield depth, record
        waiting += [(depth + 1, child) for child in reversed(children.get(record.run_id, []))]
