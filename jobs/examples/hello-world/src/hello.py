"""Say who this process is among all processes of the job.

No framework is needed for that: whatever started the processes told each of them, in its environment.
"""

import os
import socket
import sys
from pathlib import Path


def main() -> None:
    """Say hello, and leave a greeting in ./outputs."""
    # Ranks count through all nodes, local ranks through the processes of one node.
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_rank, node_rank = int(os.environ["LOCAL_RANK"]), int(os.environ["NODE_RANK"])
    greeting = f"hello from rank {rank} of {world_size}: process {local_rank} of node {node_rank}"
    print(greeting, flush=True)
    print(f"rank {rank} runs on {socket.gethostname()} as pid {os.getpid()}", flush=True)

    # ./outputs of all nodes is collected into one folder, so each process takes a name of its own.
    path = Path("outputs", f"hello-{rank}.txt")
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{greeting}\n")

    # Node 0 has the first ranks, node 1 the next ones, and so on.
    if rank != node_rank * int(os.environ["LOCAL_WORLD_SIZE"]) + local_rank:
        sys.exit(f"rank {rank} is not where it should be")


if __name__ == "__main__":
    main()
