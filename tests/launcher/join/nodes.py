"""Several `regiment agent` on this machine, as a scheduler would start them on several."""

from __future__ import annotations

import socket
import subprocess
import sys
import weakref
from pathlib import Path

from regiment.launcher.node.runkey import make_key

from ..conftest import GUARD, Lab


class HeldPort:
    """A port that nobody is given by chance while this lives; who means it can listen there."""

    def __init__(self) -> None:
        holder = socket.socket()
        weakref.finalize(self, holder.close)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        self.number: int = holder.getsockname()[1]


class Joined:
    """The nodes of one run."""

    def __init__(self, lab: Lab, count: int, port: int | None = None) -> None:
        self.lab = lab
        self.count = count
        self._held = HeldPort()
        self.port = self._held.number if port is None else port

    @property
    def key(self) -> Path:
        """The run's key."""
        path = self.lab.folder / "run.key"
        if not path.exists():
            make_key(str(path))
        return path

    def environ(self, rank: int) -> dict[str, str]:
        """Give what the scheduler tells one node."""
        return {
            "REGIMENT_NODES": str(self.count),
            "REGIMENT_NODE_RANK": str(rank),
            "REGIMENT_MASTER": f"127.0.0.1:{self.port}",
            "REGIMENT_KEY_FILE": str(self.key),
        }

    def start(self, rank: int, *arguments: str, prefix: tuple[str, ...] = (), **environ: str) -> subprocess.Popen[str]:
        """Start one node, maybe by another program."""
        argv = [*prefix, sys.executable, "-m", "regiment", "agent", "--name", "r", *arguments]
        return self.lab.start_program(argv, {**self.environ(rank), **environ})

    def run(self, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
        """Start all nodes, node 0 last, and wait for their ends."""
        started = {rank: self.start(rank, *arguments) for rank in reversed(range(self.count))}
        return [ended(started[rank]) for rank in range(self.count)]


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a node's end."""
    out, err = process.communicate(timeout=GUARD)
    return subprocess.CompletedProcess((), process.returncode, out, err)
