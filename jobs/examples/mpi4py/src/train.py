"""Two small calculations with MPI: pi by chance, and a linear model trained on data of which each process has a part.

mpirun tells the processes about each other, and MPI.COMM_WORLD is all of them.
"""

import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

WEIGHTS = np.array([2.0, -1.0, 0.5, 3.0])


def main() -> None:
    """Calculate, compare with what is known, save."""
    world = MPI.COMM_WORLD
    # Each process draws numbers of its own, and the same ones every time.
    chance = np.random.default_rng(seed=world.rank)
    # The processes that share a node can be told from the others by asking MPI for those with common memory.
    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    say(f"rank {world.rank} of {world.size}: {node.rank} of {node.size} on {MPI.Get_processor_name()}")

    pi = estimate_pi(world, chance)
    weights = train(world, chance)
    off = np.abs(weights - WEIGHTS).max()

    # All got the same sums, so all have to have the same weights, to the bit.
    everyones = world.allgather(weights.tobytes())
    good = abs(pi - np.pi) < 0.01 and off < 0.01 and len(set(everyones)) == 1
    if world.rank == 0:
        path = Path("outputs", "weights.txt")
        path.parent.mkdir(exist_ok=True)
        np.savetxt(path, weights)
        say(f"pi is about {pi:.4f}; weights {np.round(weights, 3)}, off by {off:.4f}; saved {path}")
        say(f"check: {world.size} ranks {'agree' if good else 'are WRONG'}")
    # At exit mpi4py finalises MPI, which waits for all processes.
    sys.exit(not good)


def estimate_pi(world: MPI.Comm, chance: np.random.Generator, count: int = 500_000) -> float:
    """Throw points at a square, and count those in the circle within it."""
    points = chance.uniform(-1, 1, (count, 2))
    inside = int(((points**2).sum(axis=1) <= 1).sum())
    # Lower-case methods take any Python object, and pickle it.
    return 4 * world.allreduce(inside) / (count * world.size)


def train(world: MPI.Comm, chance: np.random.Generator, count: int = 2000, steps: int = 100) -> np.ndarray:
    """Find the weights of a linear model by gradient descent."""
    x = chance.normal(size=(count, len(WEIGHTS)))
    y = x @ WEIGHTS + 0.1 * chance.normal(size=count)
    weights, gradient = np.zeros_like(WEIGHTS), np.empty_like(WEIGHTS)
    for step in range(1, steps + 1):
        error = x @ weights - y
        # Upper-case methods work on the memory of arrays, as fast as MPI can.
        world.Allreduce(x.T @ error / count, gradient)
        weights -= 0.1 * gradient / world.size
        if step % 20 == 0:
            loss = world.allreduce(float((error**2).mean())) / world.size
            if world.rank == 0:
                say(f"step {step}/{steps}  loss {loss:.4f}")
    return weights


def say(text: str) -> None:
    """Print one line at once, so that it can be watched."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
