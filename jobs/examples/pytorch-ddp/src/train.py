"""Teach a small network to read digits, with DistributedDataParallel over any number of processes.

The images are drawn by this script, so there is nothing to download. Whatever starts it says who each process is
through RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT; from there on this is plain PyTorch.
"""

import argparse
import os
import sys
import time
import zlib
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

# Each digit is five columns wide and seven rows high; one number a row, its bits the pixels.
GLYPHS = (
    (14, 17, 19, 21, 25, 17, 14),
    (4, 12, 4, 4, 4, 4, 14),
    (14, 17, 1, 2, 4, 8, 31),
    (31, 2, 4, 2, 1, 17, 14),
    (2, 6, 10, 18, 31, 2, 2),
    (31, 16, 30, 1, 1, 17, 14),
    (6, 8, 16, 30, 17, 17, 14),
    (31, 1, 2, 4, 8, 8, 8),
    (14, 17, 17, 14, 17, 17, 14),
    (14, 17, 17, 15, 1, 2, 12),
)
SIZE = 12


def main() -> None:
    """Train, report, save."""
    options = parse_arguments()
    device = join_process_group()
    rank, world_size = dist.get_rank(), dist.get_world_size()

    # Every process draws the same images and takes its own share of them.
    torch.manual_seed(options.seed)
    train_set, test_set = draw_digits(options.images), draw_digits(options.images // 4)
    train_sampler: DistributedSampler[tuple[Tensor, ...]] = DistributedSampler(train_set, seed=options.seed)
    train_loader = DataLoader(train_set, options.batch_size, sampler=train_sampler)
    test_loader = DataLoader(test_set, 256, sampler=DistributedSampler(test_set, shuffle=False))
    say(f"rank {rank} of {world_size}: {dist.get_backend()} on {device}, {len(train_sampler)} images an epoch")

    # DistributedDataParallel copies rank 0's parameters to all and averages the gradients in every backward pass.
    model = DistributedDataParallel(make_network().to(device))
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    for epoch in range(1, options.epochs + 1):
        started = time.monotonic()
        train_sampler.set_epoch(epoch)  # another order each time
        loss = train_one_epoch(model, optimizer, train_loader, device)
        accuracy = evaluate(model, test_loader, device)
        if rank == 0:
            seconds = time.monotonic() - started
            say(f"epoch {epoch}/{options.epochs}  loss {loss:.4f}  accuracy {accuracy:.1%}  {seconds:.1f} s")

    agreed = not options.check or check_agreement(model, device)
    if rank == 0:
        save(model.module)
    # Nobody leaves before all are done. It also gives Gloo's threads time to let go of the last results: one that still
    # holds a tensor while Python shuts down takes the process with it (SIGABRT, "terminate called ...").
    dist.barrier()
    dist.destroy_process_group()
    if not agreed:
        sys.exit(1)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=16, help="images a process and step (default %(default)s)")
    parser.add_argument("--lr", type=float, default=0.005, help="learning rate (default %(default)s)")
    parser.add_argument("--images", type=int, default=8000, help="images to train on (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="at the end, fail unless all processes agree")
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


def draw_digits(count: int) -> TensorDataset:
    """Draw digits at random places, some pixels faint, under noise."""
    columns = torch.arange(4, -1, -1)
    glyphs = (torch.tensor(GLYPHS).unsqueeze(-1) >> columns & 1).float()
    labels = torch.randint(10, (count,))
    images = torch.stack([place(glyphs[label]) for label in labels.tolist()])
    images = images * (0.5 + 0.5 * torch.rand_like(images)) + 0.2 * torch.randn_like(images)
    return TensorDataset(images.unsqueeze(1), labels)


def place(glyph: Tensor) -> Tensor:
    """Put a glyph somewhere on an empty square."""
    height, width = glyph.shape
    top = int(torch.randint(SIZE - height + 1, ()))
    left = int(torch.randint(SIZE - width + 1, ()))
    return pad(glyph, (left, SIZE - width - left, top, SIZE - height - top))


def make_network() -> nn.Module:
    """Two convolutions and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (SIZE // 4) ** 2, 10),
    )


def train_one_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader[tuple[Tensor, ...]],
    device: torch.device,
) -> float:
    """Go once through the images; give the mean loss over all processes."""
    model.train()
    total = torch.zeros(2, device=device)  # sum of losses, images
    for images, labels in loader:
        loss = cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += torch.tensor([loss.item() * len(labels), len(labels)], device=device)
    dist.all_reduce(total)
    return (total[0] / total[1]).item()


@torch.no_grad()
def evaluate(model: nn.Module, loader: DataLoader[tuple[Tensor, ...]], device: torch.device) -> float:
    """Give the share of images that all processes together read correctly."""
    model.eval()
    total = torch.zeros(2, device=device)  # read correctly, images
    for images, labels in loader:
        correct = model(images.to(device)).argmax(1) == labels.to(device)
        total += torch.tensor([correct.sum().item(), len(labels)], device=device)
    dist.all_reduce(total)
    return (total[0] / total[1]).item()


def check_agreement(model: nn.Module, device: torch.device) -> bool:
    """Say whether all processes ended with the same parameters and last gradients, to the bit."""
    values = [tensor for p in model.parameters() for tensor in (p.detach(), p.grad) if tensor is not None]
    flat = torch.cat([value.flatten() for value in values]).cpu()
    checksum = zlib.crc32(bytes(flat.view(torch.uint8).tolist()))
    mine = torch.tensor([checksum], device=device)
    gathered = [torch.zeros_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, mine)
    checksums = [f"{int(each):08x}" for each in gathered]
    agreed = len(set(checksums)) == 1
    if dist.get_rank() == 0 and agreed:
        say(f"check: all {len(checksums)} ranks hold the same parameters and gradients ({checksums[0]})")
    elif dist.get_rank() == 0:
        say(f"check: the ranks DISAGREE about parameters or gradients: {' '.join(checksums)}")
    return agreed


def save(network: nn.Module) -> None:
    """Write the parameters to ./outputs, from where they are collected."""
    path = Path("outputs", "model.pt")
    path.parent.mkdir(exist_ok=True)
    torch.save(network.state_dict(), path)
    say(f"saved {path}")


def say(text: str) -> None:
    """Print one line at once, so that it can be watched."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
