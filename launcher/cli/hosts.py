"""Which hosts a run's nodes are, from the flags and the compute target."""

from __future__ import annotations

import argparse
import sys

from regiment.jobs.errors import UserError
from regiment.jobs.registry import Compute

from ..coordinator.hosts import Hosts


def hosts_of(options: argparse.Namespace, compute: Compute, count: int) -> Hosts | None:
    """Give the hosts for that many nodes; None where they are not reached over ssh."""
    if options.hosts is None:
        return None
    names = tuple(options.hosts.split(","))
    if len(names) < count:
        raise UserError(f"the job has {count} nodes, and there are {len(names)} hosts; name more with --hosts")
    return Hosts(names[:count], compute.python or sys.executable)
