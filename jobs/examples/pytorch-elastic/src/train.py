"""Train with however many processes are there; go on from the last checkpoint whenever that changes.

When a node leaves or comes back, torchrun ends all processes and starts them again, with new ranks and another world
size. So everything that has to last is in the checkpoint, and nothing in it depends on the number of processes.
"""

import argparse
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

POINTS = 240  # a step, over all processes together: many numbers of processes can share them evenly


def main() -> None:
    """Find the newest checkpoint, train from there, save every few steps."""
    options = parse_arguments()
    device = join_process_group()
    rank, world_size = dist.get_rank(), dist.get_world_size()

    torch.manual_seed(options.seed)
    network = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    first_step, history = resume(options.checkpoint, network, optimizer)
    history.append(world_size)
    if rank == 0:
        say(f"world size {world_size}, step {first_step}: {'resumed' if first_step else 'started'}")

    model = DistributedDataParallel(network)
    for step in range(first_step + 1, options.steps + 1):
        x, y = share_of_points(step, rank, world_size)
        # DistributedDataParallel averages over processes; with this scale the mean over all points comes out. So a step
        # does the same to the model whether two processes share it or four, and the learning rate can stay as it is.
        loss = ((model(x.to(device)) - y.to(device)) ** 2).sum() * world_size / POINTS
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(options.pause)
        if step % options.save_every == 0 or step == options.steps:
            dist.all_reduce(loss := loss.detach() / world_size)
            if rank == 0:
                say(f"world size {world_size}, step {step}, loss {loss.item():.5f}")
            # One process of each node saves, for any node may be the one that is left.
            if os.environ["LOCAL_RANK"] == "0":
                save(options.checkpoint, step, history, network, optimizer)

    loss_at_end = loss_everywhere(network, device)
    if rank == 0:
        sizes = " -> ".join(str(size) for size in history)
        say(f"done after {options.steps} steps, world sizes {sizes}, loss {loss_at_end:.5f}")
    dist.barrier()  # nobody leaves before all are done
    dist.destroy_process_group()
    if options.check and loss_at_end > 0.02:
        sys.exit(1)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--save-every", type=int, default=10, help="steps between checkpoints (default %(default)s)")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds to wait in each step, to have time to watch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="at the end, fail unless the curve is learned")
    # ./outputs is each node's own; a folder that all nodes share works as well.
    parser.add_argument("--checkpoint", type=Path, default=Path("outputs", "checkpoint.pt"))
    return parser.parse_args()


def join_process_group() -> torch.device:
    """Meet the other processes: one GPU each through NCCL where there are enough, else the CPU through Gloo."""
    local_rank = int(os.environ["LOCAL_RANK"])
    # A killed process hangs up on the others, which fail at once; a machine that lost its power says nothing. The
    # default is to wait for it for ten minutes and more.
    patience = timedelta(seconds=60)
    if torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"]):
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device, timeout=patience)
    else:
        device = torch.device("cpu")
        dist.init_process_group("gloo", timeout=patience)
    return device


def resume(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[int]]:
    """Go back to the newest checkpoint that any process has; give its step, and the world sizes until then.

    A node that was away has an old one, a new node none at all: they get what the others have.
    """
    mine = torch.load(path, map_location="cpu") if path.exists() else {"step": 0, "history": []}
    steps = [0] * dist.get_world_size()
    dist.all_gather_object(steps, mine["step"])
    found = [mine]
    dist.broadcast_object_list(found, src=steps.index(max(steps)))
    newest = found[0]
    if newest["step"]:
        network.load_state_dict(newest["network"])
        optimizer.load_state_dict(newest["optimizer"])
    return newest["step"], newest["history"]


def save(path: Path, step: int, history: list[int], network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint; whoever is killed meanwhile leaves the one before as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    state = {"step": step, "history": history, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, unfinished)
    unfinished.replace(path)


def share_of_points(step: int, rank: int, world_size: int) -> tuple[Tensor, Tensor]:
    """Draw the points of a step, the same in every process, and take this one's share."""
    x = 6 * torch.rand((POINTS, 1), generator=torch.Generator().manual_seed(step)) - 3
    return x[rank::world_size], curve(x)[rank::world_size]


def curve(x: Tensor) -> Tensor:
    """Give what is to be learned."""
    return torch.sin(2 * x) + 0.3 * x


@torch.no_grad()
def loss_everywhere(network: nn.Module, device: torch.device) -> float:
    """Give the mean loss along the whole curve."""
    x = torch.linspace(-3, 3, 301, device=device).unsqueeze(1)
    return ((network(x) - curve(x)) ** 2).mean().item()


def say(text: str) -> None:
    """Print one line at once, so that it can be watched."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
