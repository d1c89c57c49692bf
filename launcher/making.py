"""What every new run begins with: an id, a folder, an owner."""

from __future__ import annotations

import os
import socket
import time

from regiment.jobs.record import Owner
from regiment.jobs.workspace import RunFolder, Workspace

from .node import processes


def this_process() -> Owner:
    """Give the process that asks, as the owner of what it makes."""
    pid = os.getpid()
    return Owner(pid, processes.start_ticks(pid) or 0, processes.boot_id(), socket.gethostname())


def new_run_id(experiment: str) -> str:
    """Make up an id for a run, as Azure ML does: the experiment, the time, and something random."""
    return f"{experiment[:60]}_{int(time.time())}_{os.urandom(4).hex()}"


def make_folder(workspace: Workspace, run_id: str) -> RunFolder:
    """Make the folder of a new run; raises UserError where the name is taken or is none."""
    folder = workspace.run(run_id)
    try:
        folder.root.mkdir(mode=0o700)
    except FileExistsError:
        from .taken import name_taken

        raise name_taken(folder) from None
    return folder
