"""Histories of runs, written as data, for the tests of the views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

UNIX_ZERO = 1_750_000_000.0
"""When the coordinator of these histories started: 2025-06-15T15:06:40Z."""


def process(rank: int, per_node: int) -> dict[str, Any]:
    node_rank = rank // per_node
    return {
        "name": f"rank_{rank}",
        "rank": rank,
        "localRank": rank % per_node,
        "nodeRank": node_rank,
        "nodeId": f"node-{node_rank}",
        "log": f"azureml-logs/node-{node_rank}/70_driver_log_{rank}.txt",
    }


def run_started(nodes: int, per_node: int, **more: Any) -> dict[str, Any]:
    return {
        "event": "run_started",
        "runId": "quiet_otter_1",
        "folder": "/runs/quiet_otter_1",
        "experiment": "mnist",
        "distribution": "pytorch",
        "attempt": 0,
        "graceSeconds": 30,
        "nodes": [{"index": index, "nodeId": f"node-{index}"} for index in range(nodes)],
        "processes": [process(rank, per_node) for rank in range(nodes * per_node)],
        **more,
    }


def status(name: str) -> dict[str, Any]:
    return {"event": "status", "status": name}


def node(index: int, state: str, **more: Any) -> dict[str, Any]:
    return {"event": "node", "nodeRank": index, "nodeId": f"node-{index}", "state": state, **more}


def started(rank: int) -> dict[str, Any]:
    return {"event": "process_started", "rank": rank, "pid": 4700 + rank}


def exited(
    rank: int, status: str, exit_code: int | None = None, signal: str | None = None, first: bool = False
) -> dict[str, Any]:
    return {
        "event": "process_exited",
        "rank": rank,
        "status": status,
        "exitCode": exit_code,
        "signal": signal,
        "firstFailure": first,
    }


def stopping(reason: str, grace: float = 30, force: bool = False) -> dict[str, Any]:
    return {"event": "stopping", "reason": reason, "graceSeconds": grace, "force": force}


def note(text: str, level: str = "info") -> dict[str, Any]:
    return {"event": "note", "level": level, "text": text}


def run_ended(status: str, exit_status: int, error: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "event": "run_ended",
        "status": status,
        "exitStatus": exit_status,
        "error": error,
        "elapsedSeconds": 12.34,
    }


def dated(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Number the events and let each happen a second after the one before."""
    return [
        {
            "seq": number,
            "timeUtc": f"2025-06-15T15:{6 + (40 + number) // 60:02}:{(40 + number) % 60:02}.000Z",
            "at": float(number),
            **event,
        }
        for number, event in enumerate(events)
    ]


BLAME = {
    "message": "rank 3 on node-1 failed first: exit code 7",
    "rank": 3,
    "nodeId": "node-1",
    "exitCode": 7,
    "signal": None,
    "log": "azureml-logs/node-1/70_driver_log_3.txt",
    "tail": ["Traceback (most recent call last):", '  File "train.py", line 3', "ValueError: bad\x1b]0;x\x07"],
    "followed": [f"rank {rank} on node-{rank // 2}: stopped with SIGTERM" for rank in range(3)],
}

STARTED = [
    run_started(2, 2),
    status("Starting"),
    node(0, "ready", host="alpha"),
    node(1, "ready", host="beta"),
    status("Running"),
    *(node(index, "running") for index in range(2)),
    *(started(rank) for rank in range(4)),
]
FAILED = [
    *STARTED,
    exited(3, "Failed", 7, first=True),
    status("Finalizing"),
    stopping("rank 3 failed"),
    *(exited(rank, "Stopped", signal="SIGTERM") for rank in range(3)),
    *(node(index, "released") for index in range(2)),
    run_ended("Failed", 1, BLAME),
]
COMPLETED = [*STARTED, *(exited(rank, "Completed", 0) for rank in range(4)), run_ended("Completed", 0)]
