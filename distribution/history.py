"""What happened, told as events: the difference between two states of a run, for viewers and `events.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from regiment.jobs.plain import to_plain
from regiment.jobs.record import RunError, RunRecord
from regiment.jobs.rows import with_rows

from .plan import Plan
from .state import NodeState, Phase, Process, State

Happening = dict[str, Any]
"""One event as plain data; its kind is under the key `event`."""

_NODE_WORDS = {
    NodeState.STARTING: "starting",
    NodeState.UP: "ready",
    NodeState.PREPARED: "prepared",
    NodeState.STOPPED: "stopped",
    NodeState.COLLECTED: "collected",
    NodeState.GONE: "released",
    NodeState.LOST: "lost",
}


def node_word(state: State, index: int) -> str:
    """Say in a word how a node is doing."""
    node = state.nodes[index]
    if node <= NodeState.PREPARED and state.phase is Phase.STOPPING:
        return "stopping"
    if node is NodeState.UP and state.phase is Phase.PREPARING:
        return "preparing"
    if node is NodeState.PREPARED and state.phase is not Phase.PREPARING:
        return "running"
    return _NODE_WORDS[node]


def run_started(record: RunRecord, plan: Plan, folder: str, grace: float) -> Happening:
    """Introduce a run to its viewers."""
    return {
        "event": "run_started",
        "runId": record.run_id,
        "folder": folder,
        "experiment": record.experiment_name,
        "displayName": record.display_name,
        "distribution": record.distribution,
        "attempt": record.attempt,
        "graceSeconds": grace,
        "nodes": [{"index": node.node.index, "nodeId": node.node.node_id} for node in plan.nodes],
        "processes": [process_row(plan, rank) for rank in range(len(plan.processes))],
    }


def process_row(plan: Plan, rank: int) -> dict[str, Any]:
    """Describe a planned process as `process_info.json` and viewers have it."""
    process = plan.processes[rank]
    return {
        "name": process.name,
        "rank": rank,
        "localRank": process.local_rank,
        "nodeRank": process.node_rank,
        "nodeId": plan.nodes[process.node_rank].node.node_id,
        "taskType": "worker" if process.task.type == "rank" else process.task.type,
        "log": f"azureml-logs/{process.log}",
    }


def events_between(old: State, new: State, now: float) -> Iterator[Happening]:
    """Tell what changed from one state to the next; `now` is the clock the states are on."""
    if new.processes is not old.processes:
        for rank in new.processes.differences(old.processes):
            yield from _process_events(rank, old.processes[rank], new.processes[rank], new)
    if new.kill_at is not None and (new.kill_at != old.kill_at or new.forced != old.forced):
        yield {
            "event": "stopping",
            "reason": new.canceled or (new.cause.message if new.cause else "all that the run waits for have completed"),
            "graceSeconds": round(max(0.0, new.kill_at - now), 3),
            "force": new.forced,
        }
    if new.preempting is not None and old.preempting is None:
        grace = new.policy.preemption_grace
        signal = new.noticed[0]
        yield {"event": "preempting", "source": new.preempting, "signal": signal, "remainingSeconds": grace}
    if new.phase is old.phase and new.canceled == old.canceled and new.nodes is old.nodes:
        return  # As after most events: what follows depends on these alone.
    if new.status is not old.status and new.phase is not Phase.ENDED:
        yield {"event": "status", "status": new.status.value}
    # A node's word depends on its own state and the run's phase.
    for index in new.nodes.differences(old.nodes) if new.phase is old.phase else range(len(new.nodes)):
        word = node_word(new, index)
        if word != node_word(old, index):
            yield {"event": "node", "nodeRank": index, "nodeId": f"node-{index}", "state": word}


def _process_events(rank: int, before: Process, after: Process, state: State) -> Iterator[Happening]:
    if after.pid is not None and (after.pid != before.pid or before.status.has_ended):
        yield {"event": "process_started", "rank": rank, "pid": after.pid}
    if after.status.has_ended and not before.status.has_ended:
        yield {
            "event": "process_exited",
            "rank": rank,
            "status": after.status.value,
            "exitCode": after.exit_code,
            "signal": after.signal,
            "firstFailure": is_first_failure(state, rank),
        }


def is_first_failure(state: State, rank: int) -> bool:
    """Say whether this process is the one to blame."""
    return state.cause is not None and state.cause.rank == rank


def process_info(plan: Plan, nodes: range) -> Iterator[str]:
    """Give the content of a `process_info.json` for some nodes of a run, in pieces."""
    chosen = [plan.nodes[index] for index in nodes]
    places = (
        {"index": n.node.index, "nodeId": n.node.node_id, "host": n.node.host, "ip": n.node.address} for n in chosen
    )
    rows = (process_row(plan, process.rank) for node in chosen for process in node.processes)
    head = {"schema": 1, "runId": plan.run_id, "distribution": plan.distribution}
    return with_rows(head, {"nodes": map(json.dumps, places), "processes": map(json.dumps, rows)})


def attempt_ended(state: State, error: RunError | None, pause: float) -> Happening:
    """Tell that an attempt has failed, and when the next one begins."""
    cause = state.cause
    return {
        "event": "attempt_ended",
        "attempt": state.attempt,
        "kind": None if cause is None or cause.kind is None else cause.kind.value,
        "error": to_plain(error),
        "nextInSeconds": pause,
    }


def restart_note(state: State, pause: float, left: int) -> str:
    """Say in a sentence that an attempt has failed, and what follows."""
    cause = state.cause.message if state.cause is not None else "it failed"
    text = f"attempt {state.attempt} failed ({cause}); attempt {state.attempt + 1} begins in {pause:g} s"
    return f"{text}, and {left} more may follow" if left else f"{text}, and is the last one"


def run_ended(record: RunRecord) -> Happening:
    """Tell a run's verdict, from its record when that is complete."""
    return {
        "event": "run_ended",
        "status": record.status.value,
        "exitStatus": record.exit_status,
        "error": to_plain(record.error),
        "elapsedSeconds": record.elapsed_seconds,
    }
