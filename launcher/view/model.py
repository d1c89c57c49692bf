"""What is known of a run, built up from its events; pure, with no clock, disk or terminal.

States stay the words the coordinator sent: a viewer may be older than the coordinator it watches, and a
state it does not know is still worth showing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from regiment.jobs.dataclass import dataclass, replace

Event = Mapping[str, Any]
"""One line of `events.jsonl`, or a message like it."""


@dataclass(frozen=True)
class NodeView:
    """A node of the run as far as it is known."""

    index: int
    node_id: str
    state: str = "starting"
    host: str | None = None
    text: str | None = None
    """What the coordinator had to say about its state, such as why it was lost."""


@dataclass(frozen=True)
class ProcessView:
    """A process of the job as far as it is known."""

    rank: int
    name: str
    local_rank: int
    node_rank: int
    node_id: str
    log: str
    """Path of its log, relative to the run folder."""
    status: str = "NotStarted"
    pid: int | None = None
    started_at: float | None = None
    """Seconds since the coordinator started, as are all times here."""
    ended_at: float | None = None
    exit_code: int | None = None
    signal: str | None = None
    first_failure: bool = False

    def elapsed(self, now: float) -> float | None:
        """Give the seconds it has run for, or None if it never started."""
        if self.started_at is None:
            return None
        return max(0.0, (now if self.ended_at is None else self.ended_at) - self.started_at)


@dataclass(frozen=True)
class StoppingView:
    """The processes are being ended."""

    reason: str
    at: float
    grace_seconds: float
    force: bool

    def seconds_left(self, now: float) -> float:
        """Give the seconds until what still runs is killed."""
        return 0.0 if self.force else max(0.0, self.at + self.grace_seconds - now)


@dataclass(frozen=True)
class NoteView:
    """Something the coordinator wants people to know."""

    level: str
    text: str


@dataclass(frozen=True)
class ErrorView:
    """Why the run did not complete, and what the log of the one to blame says."""

    message: str
    log: str | None = None
    tail: tuple[str, ...] = ()
    followed: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    report: str | None = None
    """The file of the run folder that tells all of it."""


@dataclass(frozen=True)
class EndView:
    """How the run ended."""

    status: str
    exit_status: int
    error: ErrorView | None
    elapsed_seconds: float


@dataclass(frozen=True)
class RunView:
    """A run as far as its events have told it."""

    run_id: str = ""
    folder: str = ""
    experiment: str = ""
    display_name: str | None = None
    distribution: str = ""
    attempt: int = 0
    status: str = "NotStarted"
    nodes: tuple[NodeView, ...] = ()
    processes: tuple[ProcessView, ...] = ()
    stopping: StoppingView | None = None
    notes: tuple[NoteView, ...] = ()
    ended: EndView | None = None
    last_seq: int = -1
    last_at: float = 0.0
    zero: float | None = None
    """Unix time at which the coordinator's clock showed 0, by the first event's two times."""

    def process(self, rank: int) -> ProcessView | None:
        """Find a process by its rank."""
        if 0 <= rank < len(self.processes) and self.processes[rank].rank == rank:
            return self.processes[rank]
        return next((process for process in self.processes if process.rank == rank), None)

    def node(self, index: int) -> NodeView | None:
        """Find a node by its index."""
        if 0 <= index < len(self.nodes) and self.nodes[index].index == index:
            return self.nodes[index]
        return next((node for node in self.nodes if node.index == index), None)

    def elapsed(self, now: float) -> float:
        """Give the seconds the run took, or has taken at `now` on the coordinator's clock."""
        return now if self.ended is None else self.ended.elapsed_seconds


def advance(view: RunView, event: Event) -> RunView:
    """Give the view after one more event.

    An event that was seen already (replayed after a reconnection) or that this version does not know
    gives the same view, the very object.
    """
    apply = _APPLY.get(str(event.get("event")))
    seq = int(event.get("seq", view.last_seq + 1))
    if apply is None or seq <= view.last_seq:
        return view
    at = float(event.get("at", view.last_at))
    zero = _zero(event, at) if view.zero is None else view.zero
    return apply(replace(view, last_seq=seq, last_at=max(view.last_at, at), zero=zero), event, at)


def _zero(event: Event, at: float) -> float | None:
    try:
        written = datetime.fromisoformat(str(event["timeUtc"]).removesuffix("Z"))
    except (KeyError, ValueError):
        return None
    return written.replace(tzinfo=timezone.utc).timestamp() - at


def _run_started(view: RunView, event: Event, at: float) -> RunView:
    """Begin an attempt: what was known of the nodes and processes of an earlier one is over."""
    return replace(
        view,
        run_id=event["runId"],
        folder=event["folder"],
        experiment=event["experiment"],
        display_name=event.get("displayName"),
        distribution=event["distribution"],
        attempt=event.get("attempt", 0),
        nodes=tuple(NodeView(node["index"], node["nodeId"]) for node in event["nodes"]),
        processes=tuple(
            ProcessView(
                rank=process["rank"],
                name=process["name"],
                local_rank=process["localRank"],
                node_rank=process["nodeRank"],
                node_id=process["nodeId"],
                log=process["log"],
            )
            for process in event["processes"]
        ),
        stopping=None,
        ended=None,
    )


def _status(view: RunView, event: Event, at: float) -> RunView:
    return replace(view, status=event["status"])


def _node(view: RunView, event: Event, at: float) -> RunView:
    index = event["nodeRank"]
    known = view.node(index) or NodeView(index, event["nodeId"])
    node = replace(known, state=event["state"], host=event.get("host") or known.host, text=event.get("text"))
    others = (other for other in view.nodes if other.index != index)
    return replace(view, nodes=tuple(sorted((node, *others), key=lambda each: each.index)))


def _process_started(view: RunView, event: Event, at: float) -> RunView:
    return _with_process(view, event, status="Running", pid=event["pid"], started_at=at, ended_at=None)


def _process_exited(view: RunView, event: Event, at: float) -> RunView:
    return _with_process(
        view,
        event,
        status=event["status"],
        ended_at=at,
        exit_code=event.get("exitCode"),
        signal=event.get("signal"),
        first_failure=bool(event.get("firstFailure")),
    )


def _with_process(view: RunView, event: Event, **changes: Any) -> RunView:
    rank = event["rank"]
    changed = (replace(each, **changes) if each.rank == rank else each for each in view.processes)
    return replace(view, processes=tuple(changed))


def _stopping(view: RunView, event: Event, at: float) -> RunView:
    stopping = StoppingView(event["reason"], at, float(event["graceSeconds"]), bool(event.get("force")))
    return replace(view, stopping=stopping)


def _attempt_ended(view: RunView, event: Event, at: float) -> RunView:
    return replace(view, stopping=None)


def _note(view: RunView, event: Event, at: float) -> RunView:
    return replace(view, notes=(*view.notes, NoteView(event["level"], event["text"])))


def _run_ended(view: RunView, event: Event, at: float) -> RunView:
    error = event.get("error")
    return replace(
        view,
        status=event["status"],
        stopping=None,
        ended=EndView(
            status=event["status"],
            exit_status=event["exitStatus"],
            error=None
            if error is None
            else ErrorView(
                message=error["message"],
                log=error.get("log"),
                tail=tuple(error.get("tail", ())),
                followed=tuple(error.get("followed", ())),
                details=tuple(error.get("details", ())),
                report=error.get("report"),
            ),
            elapsed_seconds=float(event["elapsedSeconds"]),
        ),
    )


_APPLY: Mapping[str, Callable[[RunView, Event, float], RunView]] = {
    "run_started": _run_started,
    "status": _status,
    "node": _node,
    "process_started": _process_started,
    "process_exited": _process_exited,
    "stopping": _stopping,
    "attempt_ended": _attempt_ended,
    "note": _note,
    "run_ended": _run_ended,
}
