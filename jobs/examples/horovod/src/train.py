"""Teach a small network which of three rings a point lies in, with Horovod.

The points are made here, so there is nothing to download. mpirun tells the processes about each other, and hvd.init()
asks it.
"""

import argparse
import sys
from pathlib import Path

import horovod.torch as hvd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def main() -> None:
    """Train, report, save."""
    options = parse_arguments()
    hvd.init()
    device = choose_device()
    # As many processes as processors: each does its sums alone, or they would get in each other's way.
    torch.set_num_threads(1)
    say(f"rank {hvd.rank()} of {hvd.size()}: process {hvd.local_rank()} of {hvd.local_size()} on its node, {device}")

    torch.manual_seed(options.seed)
    train_set, test_set = make_rings(6000), make_rings(2000)
    sampler = DistributedSampler(train_set, num_replicas=hvd.size(), rank=hvd.rank())
    loader = DataLoader(train_set, options.batch_size, sampler=sampler)

    torch.manual_seed(hvd.rank())  # on purpose not the same parameters everywhere: see the broadcast below
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)).to(device)
    # With more processes a step sees more points, so it may be longer.
    optimizer = torch.optim.SGD(model.parameters(), lr=options.lr * hvd.size(), momentum=0.9)
    # Gradients are averaged over all processes while the backward pass still runs.
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
    # All begin with what rank 0 has.
    hvd.broadcast_parameters(model.state_dict(), root_rank=0)
    hvd.broadcast_optimizer_state(optimizer, root_rank=0)

    for epoch in range(1, options.epochs + 1):
        sampler.set_epoch(epoch)  # another order each time
        for points, rings in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(points.to(device)), rings.to(device))
            loss.backward()
            optimizer.step()
        mean_loss = hvd.allreduce(loss.detach(), name="loss").item()
        accuracy = evaluate(model, test_set, device)
        if hvd.rank() == 0:
            say(f"epoch {epoch}/{options.epochs}  loss {mean_loss:.4f}  accuracy {accuracy:.1%}")

    agreed = do_all_agree(model)
    if hvd.rank() == 0:
        save(model)
        say(
            f"check: {hvd.size()} ranks {'hold the same parameters' if agreed else 'DISAGREE'}, accuracy {accuracy:.1%}"
        )
    hvd.shutdown()
    if options.check and not (agreed and accuracy > 0.9):
        sys.exit(1)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64, help="points a process and step (default %(default)s)")
    parser.add_argument("--lr", type=float, default=0.03, help="learning rate of one process (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--check", action="store_true", help="at the end, fail unless all agree and have learned enough"
    )
    return parser.parse_args()


def choose_device() -> torch.device:
    """Take one GPU a process where Horovod was built for them, else the CPU."""
    if hvd.nccl_built() and torch.cuda.device_count() >= hvd.local_size():
        torch.cuda.set_device(hvd.local_rank())
        return torch.device("cuda", hvd.local_rank())
    return torch.device("cpu")


def make_rings(count: int) -> TensorDataset:
    """Make points around a centre; they belong to the ring 0, 1 or 2 by their distance from it."""
    points = 2 * torch.rand(count, 2) - 1
    return TensorDataset(points, (points.norm(dim=1) * 2.2).long().clamp(max=2))


@torch.no_grad()
def evaluate(model: nn.Module, points: TensorDataset, device: torch.device) -> float:
    """Give the share of points whose ring is found; every process looks at a part of them."""
    places, rings = (each[hvd.rank() :: hvd.size()].to(device) for each in points.tensors)
    found = (model(places).argmax(1) == rings).sum()
    return hvd.allreduce(found, op=hvd.Sum, name="found").item() / len(points)


def do_all_agree(model: nn.Module) -> bool:
    """Say whether all processes ended with the same parameters, to the bit."""
    mine = torch.cat([p.detach().flatten() for p in model.parameters()]).cpu()
    everyones: Tensor = hvd.allgather(mine.unsqueeze(0), name="parameters")
    return bool((everyones == mine).all())


def save(model: nn.Module) -> None:
    """Write the parameters to ./outputs, from where they are collected."""
    path = Path("outputs", "model.pt")
    path.parent.mkdir(exist_ok=True)
    torch.save(model.state_dict(), path)
    say(f"saved {path}")


def say(text: str) -> None:
    """Print one line at once, so that it can be watched."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
