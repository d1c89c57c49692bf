"""What mpirun takes for ssh: has the agent run a line on another node, and ends as that does.

Called as `rsh HOST LINE...`; whatever stands before the host begins with a dash (MPICH's Hydra puts an `-x` there).
"""

from __future__ import annotations

import json
import os
import socket
import sys

_NOT_REACHED = 255


def main() -> None:
    """Run a line on another node."""
    host, line = _wish(sys.argv[1:])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["REGIMENT_SOCKET"])
        connection.sendall(json.dumps({"type": "remoteShell", "host": host, "line": line}).encode() + b"\n")
        answer = connection.makefile("rb").readline()
    if not answer:
        print(f"regiment: {host} cannot be reached: the run is being stopped", file=sys.stderr)
        sys.exit(_NOT_REACHED)
    sys.exit(int(json.loads(answer)["status"]))


def _wish(words: list[str]) -> tuple[str, str]:
    while words and words[0].startswith("-"):
        del words[0]
    if len(words) < 2:
        sys.exit("regiment: the remote shell needs a host and a command; only mpirun calls it")
    return words[0], " ".join(words[1:])
