"""The health check of a container: do the node's agent and, on node 0, the coordinator answer, if they are there yet?

Somebody who does not introduce himself is refused by a coordinator, and let go by an agent: either is an answer, and
one that hangs, or is dead, does not give it. Before the run has started on this node there is nobody to ask: then the
entrypoint waits for the other nodes, and ends by itself when they do not come.
"""

import os
import socket
import sys
from pathlib import Path

PATIENCE = 5.0
"""Seconds an agent may take to answer on a busy node, where this program takes seconds to start as well."""


def main() -> None:
    """End with 1, and a line that says why, if an agent or coordinator of this container does not answer."""
    bases = {os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp"}
    for path in sorted(str(path) for base in bases if base for path in Path(base).glob("regiment-*/*.sock")):
        if not answers(path):
            sys.exit(f"{path} does not answer")


def answers(path: str) -> bool:
    """Say whether whoever listens on this socket is at its work."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(path)
            connection.sendall(b'{"type":"health"}\n')
            connection.recv(4096)
        except FileNotFoundError:
            return True  # It has just ended, as it should.
        except (ConnectionResetError, BrokenPipeError):
            return True
        except OSError:
            return False
    return True


if __name__ == "__main__":
    main()
