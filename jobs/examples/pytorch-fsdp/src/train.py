"""Train a small transformer with FSDP2: its parameters, gradients and optimizer state are sharded over all processes.

It learns to continue sequences like 2 5 7 2 9 1 0 1 ..., where each digit is the last one of the sum of the two before.
The sequences are made here, so there is nothing to download. Whatever starts this script says who each process is
through RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; from there on this is plain PyTorch.
"""

import argparse
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import nll_loss, scaled_dot_product_attention

DIGITS = 10
LENGTH = 16
CHECKPOINT = Path("outputs", "model.pt")


def main() -> None:
    """Train, gather the shards, save."""
    options = parse_arguments()
    device = join_process_group()
    rank, world_size = dist.get_rank(), dist.get_world_size()

    torch.manual_seed(options.seed)  # the same parameters everywhere, of which each process then keeps its share
    model = shard(Transformer().to(device))
    # The optimizer has to come after the sharding: it only sees, and only has state for, this process's share.
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
    mine = sum(p.to_local().numel() for p in model.parameters())
    everything = sum(p.numel() for p in model.parameters())
    say(f"rank {rank} of {world_size}: {dist.get_backend()} on {device}, holds {mine:,} of {everything:,} parameters")

    torch.manual_seed(options.seed + 1 + rank)  # but other data
    for step in range(1, options.steps + 1):
        sequences = make_sequences(options.batch_size, device)
        loss = loss_of(model, sequences)
        loss.backward()  # puts layers together again, and leaves each process the mean gradient of its own share
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            dist.all_reduce(loss := loss.detach() / world_size)
            if rank == 0:
                say(f"step {step}/{options.steps}  loss {loss.item():.4f}")

    # All processes take part in putting the whole model together; only rank 0 gets it.
    whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    good = True
    if rank == 0:
        CHECKPOINT.parent.mkdir(exist_ok=True)
        torch.save(whole, CHECKPOINT)
        say(f"saved {CHECKPOINT}")
        good = check_checkpoint() or not options.check
    dist.barrier()  # nobody leaves while another still needs its shards
    dist.destroy_process_group()
    if not good:
        sys.exit(1)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=32, help="sequences a process and step (default %(default)s)")
    parser.add_argument("--lr", type=float, default=0.01, help="learning rate (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--check", action="store_true", help="fail unless the saved model continues sequences correctly"
    )
    return parser.parse_args()


def join_process_group() -> torch.device:
    """Meet the other processes: one GPU each through NCCL where there are enough, else the CPU through Gloo."""
    local_rank = int(os.environ["LOCAL_RANK"])
    if torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"]):
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
    else:
        device = torch.device("cpu")
        dist.init_process_group("gloo")
    return device


def shard(model: "Transformer") -> "Transformer":
    """Shard each block by itself, so that only one of them at a time has to be whole; then what is left."""
    mesh = init_device_mesh(next(model.parameters()).device.type, (dist.get_world_size(),))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


class Transformer(nn.Module):
    """A decoder of a few blocks that sees the digits so far and guesses the next one."""

    def __init__(self, width: int = 48, block_count: int = 2) -> None:
        super().__init__()
        self.digits = nn.Embedding(DIGITS, width)
        self.places = nn.Embedding(LENGTH, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(block_count))
        self.guess = nn.Linear(width, DIGITS)

    def forward(self, digits: Tensor) -> Tensor:
        """Give the logarithm of the probability of each next digit."""
        x = self.digits(digits) + self.places(torch.arange(digits.shape[1], device=digits.device))
        for block in self.blocks:
            x = block(x)
        return self.guess(x).log_softmax(-1)


class Block(nn.Module):
    """Attention to what came before, then a small network for each place."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Add what this block finds."""
        batch, length, width = x.shape
        split = self.query_key_value(self.before(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(*split, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.network(self.between(x))


def make_sequences(count: int, device: torch.device) -> Tensor:
    """Make sequences that begin with two digits by chance."""
    sequences = torch.randint(DIGITS, (count, LENGTH + 1))
    for place in range(2, LENGTH + 1):
        sequences[:, place] = (sequences[:, place - 1] + sequences[:, place - 2]) % DIGITS
    return sequences.to(device)


def loss_of(model: nn.Module, sequences: Tensor) -> Tensor:
    """Give the mean loss over all digits that can be known: the first two are chance."""
    guesses = model(sequences[:, :-1])[:, 1:]
    return nll_loss(guesses.flatten(0, 1), sequences[:, 2:].flatten())


@torch.no_grad()
def check_checkpoint() -> bool:
    """Load the saved file into a model that is not sharded, and see whether it has learned the rule."""
    model = Transformer()
    model.load_state_dict(torch.load(CHECKPOINT))
    sequences = make_sequences(500, torch.device("cpu"))
    guessed = model(sequences[:, :-1])[:, 1:].argmax(-1)
    accuracy = (guessed == sequences[:, 2:]).float().mean().item()
    say(f"check: the saved model knows {accuracy:.1%} of the next digits")
    return accuracy > 0.9


def say(text: str) -> None:
    """Print one line at once, so that it can be watched."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
