"""The report of a run that did not complete: what failed first and why, and why the others are not to blame.

It is data for `report.json` and `run.json`, and text for `report.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import ExitStatus
from regiment.jobs.record import ProcessStatus, RunError

from .causes import CauseClass, Evidence, classify
from .circumstances import Circumstances, Memory
from .decide.words import called, how_it_ended, left_early
from .plan import Plan
from .state import State

if TYPE_CHECKING:
    from .lastwords import LoggedException

REPORT = "report.md"
"""The report's name in the run folder."""


@dataclass(frozen=True)
class LastWords:
    """What a log says at its end."""

    log: str | None = None
    """Its path in the run folder."""
    tail: tuple[str, ...] = ()
    """Its last lines."""
    exception: LoggedException | None = None
    """The last exception in it."""


@dataclass(frozen=True)
class FirstFailure:
    """What failed first."""

    kind: CauseClass
    rank: int | None
    node_id: str | None
    host: str | None
    pid: int | None
    exit_code: int | None
    signal: str | None
    exception: LoggedException | None
    memory: Memory | None
    shared_memory_full: bool
    core: str | None
    details: tuple[str, ...]
    """What is known besides the message, a sentence each."""
    log: str | None
    tail: tuple[str, ...]


@dataclass(frozen=True)
class Follower:
    """A process that is not to blame."""

    rank: int
    node_id: str
    status: ProcessStatus
    exit_code: int | None
    signal: str | None
    why: str
    """What became of it, a sentence with its name in front."""


@dataclass(frozen=True)
class Stack:
    """Where a process was when it was asked, while it lived."""

    rank: int
    frames: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Why a run, or an attempt of it, did not complete."""

    run_id: str
    attempt: int
    status: str
    message: str
    """The verdict in one line."""
    cause: FirstFailure | None
    """None where somebody ended the run."""
    followed: tuple[Follower, ...]
    stacks: tuple[Stack, ...] = ()
    """Nobody is asked for them yet."""
    schema: int = 1


def evidence_of(state: State, words: LastWords, circumstances: Circumstances) -> Evidence:
    """Put together what is known of what failed first."""
    cause = state.cause
    assert cause is not None
    process = None if cause.rank is None else state.processes[cause.rank]
    # Only a launcher's end makes a run fail as a job without a rank to blame; but for ranks that it was right about.
    is_launchers = process is None and cause.exit_status is ExitStatus.JOB_FAILED and left_early(state) is None
    was_killed = process is not None and process.signal == "SIGKILL"
    return Evidence(
        exit_code=process.exit_code if process else None,
        signal=process.signal if process else None,
        # What a log tells of before a SIGKILL did not end the process.
        exception=None if was_killed else words.exception,
        circumstances=circumstances,
        is_process=process is not None or (cause.exit_status is ExitStatus.JOB_FAILED and not is_launchers),
        is_launchers=is_launchers,
    )


def make_report(state: State, plan: Plan, words: LastWords, circumstances: Circumstances) -> Report | None:
    """Give the report; None for a run that completed."""
    if state.canceled is None and state.cause is None:
        return None
    cause = None if state.canceled is not None else _first_failure(state, plan, words, circumstances)
    message = state.canceled or (state.cause.message if state.cause else "")
    followed = tuple(_followers(state))
    return Report(plan.run_id, plan.attempt, state.verdict.value, message, cause, followed)


def _first_failure(state: State, plan: Plan, words: LastWords, circumstances: Circumstances) -> FirstFailure:
    evidence, cause = evidence_of(state, words, circumstances), state.cause
    assert cause is not None
    process = None if cause.rank is None else state.processes[cause.rank]
    return FirstFailure(
        kind=cause.kind or classify(evidence),
        rank=cause.rank,
        node_id=None if cause.node is None else f"node-{cause.node}",
        host=None if cause.node is None else plan.nodes[cause.node].node.host,
        pid=process.pid if process else None,
        exit_code=evidence.exit_code,
        signal=evidence.signal,
        exception=evidence.exception,
        memory=circumstances.memory,
        shared_memory_full=circumstances.shared_memory_full,
        core=circumstances.core,
        details=tuple(_details(evidence)),
        log=words.log,
        tail=words.tail,
    )


def _details(evidence: Evidence) -> Iterator[str]:
    """Say what the message doesn't, the most telling first."""
    circumstances, kind = evidence.circumstances, classify(evidence)
    memory = circumstances.memory
    if evidence.exception is not None:
        yield str(evidence.exception)
        for behind in evidence.exception.behind[:1]:
            yield f"it came of {behind}"
    if memory is not None and memory.oom_kills and kind is CauseClass.OUT_OF_MEMORY:
        yield f"out of memory: the kernel killed {_processes(memory.oom_kills)} of its node for it{_limits(memory)}"
    elif kind is CauseClass.OUT_OF_MEMORY and evidence.signal == "SIGBUS":
        yield "out of shared memory: /dev/shm is full"
    elif evidence.signal == "SIGKILL" and memory is not None:
        yield "killed by SIGKILL from outside: the kernel killed nothing for want of memory"
    elif evidence.signal == "SIGKILL":
        yield "whether memory ran out the kernel does not tell here"
    if circumstances.core is not None:
        yield f"core file: {circumstances.core}"


def _processes(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"


def _limits(memory: Memory) -> str:
    limit = "" if memory.limit is None else f"; limit {_size(memory.limit)}"
    return limit + ("" if memory.peak is None else f", at most {_size(memory.peak)} in use")


def _size(number: int) -> str:
    return f"{number / (1 << 20):.0f} MiB" if number < 1 << 30 else f"{number / (1 << 30):.1f} GiB"


_WHY = {
    ProcessStatus.STOPPED: "stopped by Regiment after that",
    ProcessStatus.CANCELED: "stopped by Regiment on request",
    ProcessStatus.LOST: "lost with its node",
    ProcessStatus.NOT_STARTED: "never started",
    ProcessStatus.COMPLETED: "had completed",
}


def _followers(state: State) -> Iterator[Follower]:
    for rank, process in enumerate(state.processes):
        if state.cause is not None and state.cause.rank == rank:
            continue
        why = _WHY.get(process.status, process.status.value)
        if process.status is ProcessStatus.FAILED:
            why = f"failed after that: {how_it_ended(process.exit_code, process.signal)}"
        said = f"{called(rank, process)}: {why}"
        yield Follower(rank, f"node-{process.node}", process.status, process.exit_code, process.signal, said)


def run_error(report: Report | None) -> RunError | None:
    """Give what the record and the viewers are told of it."""
    if report is None:
        return None
    cause, followed = report.cause, tuple(follower.why for follower in report.followed)
    if cause is None:
        return RunError(report.message, followed=followed, report=REPORT)
    return RunError(
        report.message,
        rank=cause.rank,
        node_id=cause.node_id,
        exit_code=cause.exit_code,
        signal=cause.signal,
        log=cause.log,
        tail=cause.tail,
        followed=followed,
        kind=cause.kind.value,
        details=cause.details,
        report=REPORT,
    )


# --- for people -------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """Give the text of `report.md`."""
    return "".join(f"{_harmless(line)}\n" for line in _lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield f"# {report.run_id}, attempt {report.attempt}: {report.status}"
    yield from ("", report.message)
    cause = report.cause
    if cause is not None:
        yield ""
        yield from (f"* {detail}" for detail in cause.details)
        yield f"* kind of cause: {cause.kind.value.replace('_', ' ')}"
        if cause.node_id is not None:
            pid = "" if cause.pid is None else f", process {cause.pid}"
            yield f"* on {cause.node_id}, host {cause.host}{pid}"
        if cause.log is not None:
            yield f"* log: {cause.log}"
        if cause.tail:
            yield from ("", "## Its last lines", "")
            yield from (f"    {line}" for line in cause.tail)
    if report.followed:
        yield from ("", "## What followed", "")
        yield from (f"* {follower.why}" for follower in report.followed)


_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _harmless(line: str) -> str:
    """Show control characters instead of sending them: the file may be read in a terminal."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", line)
