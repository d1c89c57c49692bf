"""Which hosts a run's nodes are, from the flags and the compute target."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from regiment.distribution.hosts import HostList, read_hostfile, read_hosts
from regiment.jobs.errors import UserError
from regiment.jobs.registry import Compute

from ..coordinator.hosts import START_LIMIT, Hosts

SSH = "ssh"
"""The type of a compute target whose nodes are reached so."""


def named_hosts(options: argparse.Namespace) -> HostList | None:
    """Give the hosts that the command line names; None where it names none."""
    if getattr(options, "hosts", None) is not None and options.hostfile is not None:
        raise UserError("give --hosts or --hostfile, not both")
    if getattr(options, "hosts", None) is not None:
        return read_hosts(options.hosts, "--hosts")
    if getattr(options, "hostfile", None) is not None:
        try:
            text = Path(options.hostfile).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UserError(f"--hostfile {options.hostfile}: {reason}") from None
        return read_hostfile(text, f"--hostfile {options.hostfile}")
    return None


def hosts_of(options: argparse.Namespace, compute: Compute, count: int) -> Hosts | None:
    """Give the hosts for that many nodes; None where they are not reached over ssh."""
    found = named_hosts(options)
    if found is not None:
        return _first_of(found, compute, count)
    return hosts_of_target(compute, count) if compute.type == SSH else None


def hosts_of_target(compute: Compute, count: int) -> Hosts:
    """Give the hosts for that many nodes of a compute target that is reached over ssh."""
    return _first_of(read_hosts(compute.hosts or "", f"compute target {compute.name!r}"), compute, count)


def _first_of(found: HostList, compute: Compute, count: int) -> Hosts:
    if len(found.names) < count:
        known = ", ".join(found.names[:4]) + (", ..." if len(found.names) > 4 else "")
        raise UserError(f"the job has {count} nodes, and there are {len(found.names)} hosts: {known}; name more")
    # As the person calls it, and not where its links lead: a virtual environment's is found by its name.
    return Hosts(found.names[:count], compute.python or sys.executable, compute.start_timeout or START_LIMIT)
