"""A cluster as TensorFlow writes one, tasks of some kinds with their addresses, and the own task in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from regiment.jobs.errors import UserError

from . import values
from .place import Said


def place_in(spec: dict[str, Any], by: str, kinds: Iterable[str]) -> tuple[Said, ...]:
    """Give the place of a task: nodes are counted through the kinds in the given order."""
    cluster, task = spec.get("cluster"), spec.get("task")
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise UserError(f"{by} has no 'cluster' or no 'task' with a type and an index")
    addresses: list[str] = []
    rank = None
    for kind in kinds:
        hosts = values.texts(cluster.get(kind, []), f"{by}'s cluster.{kind}")
        if task.get("type") == kind:
            rank = len(addresses) + _index(task.get("index"), by, kind, len(hosts))
        addresses += hosts
    if rank is None:
        raise UserError(f"{by} has no task of this node's type {values.shown(str(task.get('type')))} in its cluster")
    master = values.endpoint(addresses[0], f"{by}'s cluster")
    return (values.count(str(len(addresses)), f"{by}'s cluster"), values.rank(str(rank), f"{by}'s task"), *master)


def _index(index: object, by: str, kind: str, count: int) -> int:
    # Some write it as a text.
    number = int(index) if isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < 10 else index
    if type(number) is not int or not 0 <= number < count:
        raise UserError(f"{by} says that this node is {kind} {values.shown(str(index))} of {count}")
    return number
