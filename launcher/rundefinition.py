"""What a run was asked to do, in the words of Azure ML's `runDefinition`, as far as they mean something here."""

from __future__ import annotations

from typing import Any

from regiment.jobs.record import RunRecord

_FRAMEWORKS = {"pytorch": "PyTorch", "tensorflow": "TensorFlow"}
_COMMUNICATORS = {"pytorch": "Nccl", "mpi": "Mpi", "tensorflow": "ParameterServer"}
_HIDDEN = "********"
"""The value of each variable that the job was given; the record has only their names."""


def run_definition(record: RunRecord) -> dict[str, Any]:
    """Give the `runDefinition` of a run's details."""
    kind, nodes, processes = record.distribution, record.instance_count, record.process_count
    return {
        "script": record.script,
        "command": record.command,
        "useAbsolutePath": False,
        "arguments": list(record.arguments),
        "sourceDirectory": record.source_directory,
        "framework": _FRAMEWORKS.get(kind, "Python"),
        "communicator": _COMMUNICATORS.get(kind, "None"),
        "target": record.target,
        "nodeCount": nodes,
        "environmentVariables": dict.fromkeys(record.environment_names, _HIDDEN),
        "history": {
            "outputCollection": True,
            "directoriesToWatch": ["logs"],
            "snapshotProject": "ContentSnapshotId" in record.properties,
        },
        "mpi": {"processCountPerNode": processes // nodes if kind == "mpi" else 1},
        "pyTorch": {"processCount": processes if kind == "pytorch" else None},
    }
