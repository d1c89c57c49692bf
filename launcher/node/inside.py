"""Whether a process is one of a job's."""

from __future__ import annotations

import os
from collections.abc import Mapping

SOCKET = "REGIMENT_SOCKET"
"""The variable with the path of the agent's socket."""


def agent_of(environ: Mapping[str, str]) -> str | None:
    """Give the path of the agent's socket where this process is one of a job's, else None."""
    path = environ.get(SOCKET)
    return path if path and "REGIMENT_RUN_ID" in environ and os.path.exists(path) else None
