"""What the kernel lets each process have."""

from __future__ import annotations

import resource

_MOST_FILES = 65536
"""Open files that a process is given at most: some programs try to close all that they might have."""


def most_files() -> int:
    """Give how many files a process may have open once its limits are raised."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)


def raise_limits() -> None:
    """Raise to what this user may have what shells keep low: open files, and memory that network cards can reach."""
    for kind, enough in ((resource.RLIMIT_NOFILE, _MOST_FILES), (resource.RLIMIT_MEMLOCK, resource.RLIM_INFINITY)):
        soft, hard = resource.getrlimit(kind)
        wanted = min((limit for limit in (hard, enough) if limit != resource.RLIM_INFINITY), default=hard)
        if soft != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > soft):
            resource.setrlimit(kind, (wanted, hard))
