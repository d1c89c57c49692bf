"""The stand-in: is a task of Slurm's in the place of a rank, which the node's agent starts as a child of its own.

Slurm's daemon kills a step's tasks the moment a rank goes without MPI_Finalize. A wrapper between the two would die
with them before it could tell how the rank ended. With a stand-in nothing is lost: it has told the agent all that Slurm
gave it, and of the rank's end the kernel tells the agent. PMIx knows a rank by its variables and its user.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from types import FrameType

from .wrapper import ENDING, NOTICES, end_as, send, wait_for_end

_MAX_WORD = 4096


def main() -> None:
    """Hand on what Slurm gave this task, and end as the rank has ended."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["REGIMENT_SOCKET"])
    # Signals wait until the agent knows whom they are for.
    signal.pthread_sigmask(signal.SIG_BLOCK, NOTICES)
    _take_signals(connection)
    cpus = sorted(os.sched_getaffinity(0))
    send(connection, {"type": "standIn", "given": dict(os.environ), "cpus": cpus})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NOTICES)
    status = _receive_status(connection)
    if status != 0:
        # As the wrapper under mpirun: Slurm hears of it when the agent has seen to all.
        wait_for_end(connection)
    end_as(status)


def _take_signals(connection: socket.socket) -> None:
    """Tell the agent of notices, and leave it to the agents, whose step Slurm asks to end as well, to end the ranks."""

    def handler(number: int, _: FrameType | None) -> None:
        send(connection, {"type": "asked", "signal": number})

    for number in NOTICES:
        signal.signal(number, handler)
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _receive_status(connection: socket.socket) -> int:
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(_MAX_WORD)
        data += part
        if not part:
            # The agent does not want this rank (any more): the run is being stopped.
            sys.exit(143)
    status: int = json.loads(data)["status"]
    return status
