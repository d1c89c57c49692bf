"""`regiment run`, up to the moment from which it takes all of Regiment: by then a coordinator is starting."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from regiment.jobs.errors import UserError
from regiment.jobs.workspace import find_workspace

from ..coordinatorstart import CoordinatorProcess, start_early
from ..node.inside import agent_of


def run(options: argparse.Namespace) -> int:
    """Run a job and show it until it ends, or leave it running."""
    coordinator = None if agent_of(os.environ) else _start_early(options)
    # All else that it takes is imported while the coordinator's Python starts.
    from .run import run

    return run(options, coordinator)


def _start_early(options: argparse.Namespace) -> CoordinatorProcess | None:
    try:
        return start_early(find_workspace(options.workspace, os.environ, Path.cwd()))
    except (OSError, UserError):
        return None  # What is wrong with the workspace will be told when the job turns out to be good.
