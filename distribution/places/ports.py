"""A port for node 0's agent that all nodes find without a word between them."""

from __future__ import annotations

import zlib

FIRST_PORT, LAST_PORT = 21000, 28999
"""Below what Linux gives to outgoing connections (32768 and up) and Kubernetes to its services (30000 and up)."""


def derived_port(job: str) -> int:
    """Give a job's port: the same on all of its nodes, and rarely that of another job on one of them."""
    return FIRST_PORT + zlib.crc32(job.encode("utf-8", "backslashreplace")) % (LAST_PORT - FIRST_PORT + 1)
