"""This machine, shared among the nodes that it emulates."""

from __future__ import annotations

import os
from collections import Counter

from regiment.distribution.shares import shares

from .backend import Share

MOST_NODES = 256
"""Nodes this machine emulates at most: each has two processes of ours, and all start on the same processors."""


def machine_shares(node_count: int) -> tuple[Share, ...]:
    """Share this process's processors and GPUs among that many nodes."""
    cpus = shares(sorted(os.sched_getaffinity(0)), node_count)
    gpus = shares(visible_gpus(), node_count)
    owners = Counter(gpu for share in gpus for gpu in share)
    return tuple(Share(c, g or None, any(owners[gpu] > 1 for gpu in g)) for c, g in zip(cpus, gpus, strict=True))


def visible_gpus() -> tuple[str, ...]:
    """Give the NVIDIA GPUs this process may use, as CUDA_VISIBLE_DEVICES names them; asks no driver."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(part.strip() for part in named.split(",") if part.strip() not in ("", "-1", "NoDevFiles"))
    try:
        found = [name[6:] for name in os.listdir("/dev") if name.startswith("nvidia") and name[6:].isdigit()]
    except OSError:
        return ()
    return tuple(sorted(found, key=int))
