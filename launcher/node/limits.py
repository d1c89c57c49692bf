"""What the kernel lets each process have."""

from __future__ import annotations

import resource

_MOST_FILES = 65536
"""Open files that a process is given at most: some programs try to close all that they might have."""


def raise_limits() -> None:
    """Raise to what this user may have what shells keep low: open files, and memory that network cards can reach."""
    for kind, enough in ((resource.RLIMIT_NOFILE, _MOST_FILES), (resource.RLIMIT_MEMLOCK, resource.RLIM_INFINITY)):
        soft, hard = resource.getrlimit(kind)
        wanted = min((limit for limit in (hard, enough) if limit != resource.RLIM_INFINITY), default=hard)
        if soft != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > soft):
            resource.setrlimit(kind, (wanted, hard))
