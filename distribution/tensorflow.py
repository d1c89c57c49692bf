"""TensorFlow's TF_CONFIG: the cluster and each process's place in it.

The format is TensorFlow's own (`tf.distribute.cluster_resolver.TFConfigClusterResolver`, and the guide "Distributed
training with TensorFlow"); `environment: cloud` is what Azure ML and Vertex add.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from regiment.jobs.placement import Placement

from .tasks import NodeTasks, Task

_ORDER = ("chief", "worker", "ps")
"""The task types that are the cluster; an evaluator only looks at what they save, and knows it but is not in it."""

Cluster = Mapping[str, list[str]]
"""The addresses (`host:port`) of each task type, by index."""


def cluster(placement: Placement, tasks: NodeTasks) -> Cluster:
    """Give every task's address: its node's, with the port that is held there for its local rank."""
    addresses = {
        task: f"{node.address}:{port}"
        for node, own in zip(placement.nodes, tasks, strict=True)
        for task, port in zip(own, node.ports, strict=True)
    }
    # Tasks of one type follow each other in the order of their numbers, node by node.
    by_type = {kind: [address for task, address in addresses.items() if task.type == kind] for kind in _ORDER}
    return {kind: found for kind, found in by_type.items() if found}


def tf_config(addresses: Cluster, task: Task) -> str:
    """Give the value of a process's TF_CONFIG."""
    config = {"cluster": addresses, "task": {"type": task.type, "index": task.index}, "environment": "cloud"}
    return json.dumps(config)
