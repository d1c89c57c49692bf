"""Which node a start waited for, in which phase, and what takes longer than it did in another run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from regiment.jobs.dataclass import dataclass, replace

from .startphase import WAITING, Span, StartPhase
from .timeline import Detail, NodeStart, Timeline

_NOTICEABLE = 0.1
"""Seconds below which nobody stands out."""
_SHARE = 0.1
"""As a share of what is usual."""


@dataclass(frozen=True)
class Share:
    """What one process spent in each phase, those of its node included."""

    node: NodeStart
    rank: int | None
    """None for a node none of whose processes has come that far."""
    spans: tuple[Span, ...]
    details: tuple[Detail, ...] = ()

    def seconds(self, phase: StartPhase) -> float:
        """How long it was in a phase, of which there may be several spans."""
        return sum(span.seconds for span in self.spans if span.phase is phase)

    @property
    def work(self) -> float:
        """How long it took where it did not wait for others."""
        return sum(span.seconds for span in self.spans if span.phase not in WAITING | {StartPhase.FIRST_STEP})

    @property
    def end(self) -> float:
        """Where it has come to."""
        return self.spans[-1].end if self.spans else 0.0

    def text(self, phase: StartPhase) -> str:
        """What is known of a phase besides."""
        return next((span.text for span in self.spans if span.phase is phase), "")


@dataclass(frozen=True)
class Slowest:
    """Who took longest to come to where all meet, and why."""

    share: Share
    phase: StartPhase
    """The phase in which it lost most."""
    seconds: float
    """What it took for that."""
    usual: float
    """What the others take, half of them more and half of them less."""
    stands_out: bool
    """Whether that is worth a word."""
    text: str = ""
    """What it was about, where that is known: the module that took so much longer to import, say."""


@dataclass(frozen=True)
class PhaseSpread:
    """How long a phase takes: all processes together."""

    phase: StartPhase
    least: float
    usual: float
    most: float
    worst: Share
    """Who took longest."""


@dataclass(frozen=True)
class Change:
    """What a phase takes in one run and took in another; None where that is not known."""

    phase: StartPhase
    one: PhaseSpread | None
    other: PhaseSpread | None

    @property
    def seconds(self) -> float | None:
        """By how much the longest of the one run is longer."""
        return None if self.one is None or self.other is None else self.one.most - self.other.most

    @property
    def is_slower(self) -> bool:
        """Say whether it is noticeably longer, and no mere consequence of another phase."""
        by = self.seconds
        return by is not None and self.other is not None and _stands_out(by, self.other.most)


def shares(timeline: Timeline) -> list[Share]:
    """Give what each process spent, and for a node without any what the node did."""
    found = []
    for node in timeline.nodes:
        found += [Share(node, rank.rank, (*node.spans, *rank.spans), rank.details) for rank in node.ranks if rank.spans]
        if not any(rank.spans for rank in node.ranks):
            found.append(Share(node, None, node.spans))
    return found


def slowest_of(timeline: Timeline) -> Slowest | None:
    """Find the node that the others waited for; with one node, the process. None where there is nothing to compare."""
    all_shares = shares(timeline)
    if not all_shares:
        return None
    slowest = max(all_shares, key=lambda share: share.work)
    others = [share for share in all_shares if share.node is not slowest.node]
    others = others or [share for share in all_shares if share is not slowest]
    if not others:
        return None
    found = max(_comparisons(slowest, others), key=lambda found: found.seconds - found.usual)
    about = _module(slowest, others) if found.phase is StartPhase.IMPORTS else slowest.text(found.phase)
    return replace(found, text=about)


def _module(slowest: Share, others: Sequence[Share]) -> str:
    """Give the module whose import took longest beyond what it took others, who may not have imported it."""
    usual = [_imports(share) for share in others]
    by = {name: took - median(each.get(name, 0.0) for each in usual) for name, took in _imports(slowest).items()}
    return max(by, key=lambda name: by[name], default="")


def _imports(share: Share) -> dict[str, float]:
    return {detail.text: detail.end - detail.begin for detail in share.details if detail.end is not None}


def _comparisons(slowest: Share, others: Sequence[Share]) -> Iterator[Slowest]:
    for phase in dict.fromkeys(span.phase for span in slowest.spans):
        if phase not in WAITING and phase is not StartPhase.FIRST_STEP:
            seconds, usual = slowest.seconds(phase), median(share.seconds(phase) for share in others)
            yield Slowest(slowest, phase, seconds, usual, _stands_out(seconds - usual, usual))


def _stands_out(by: float, usual: float) -> bool:
    return by >= _NOTICEABLE and by >= _SHARE * usual


def spreads(timeline: Timeline) -> list[PhaseSpread]:
    """Give how long each known phase took."""
    all_shares = shares(timeline)
    return [_spread(phase, [s for s in all_shares if _has(s, phase)]) for phase in timeline.known]


def _has(share: Share, phase: StartPhase) -> bool:
    return any(span.phase is phase for span in share.spans)


def _spread(phase: StartPhase, found: Sequence[Share]) -> PhaseSpread:
    seconds = [share.seconds(phase) for share in found]
    worst = max(found, key=lambda share: share.seconds(phase))
    return PhaseSpread(phase, min(seconds), median(seconds), max(seconds), worst)


def changes(one: Timeline, other: Timeline) -> list[Change]:
    """Compare two starts phase by phase."""
    ones, others = ({spread.phase: spread for spread in spreads(timeline)} for timeline in (one, other))
    return [Change(p, ones.get(p), others.get(p)) for p in StartPhase if p in ones or p in others]


def slower(found: Sequence[Change]) -> list[Change]:
    """Give the phases that take noticeably longer, the worst first; who only waits longer comes last."""
    return sorted(
        (change for change in found if change.is_slower),
        key=lambda change: (change.phase in WAITING, -(change.seconds or 0.0)),
    )
