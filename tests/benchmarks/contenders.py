"""The launchers that are measured side by side, and how each is told to start the same Python script."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent
_TORCHX = Path(os.environ.get("BENCH_TORCHX", "")) / "bin/torchx"
"""TorchX lives in a virtual environment of its own, whose path `make bench` gives."""


_UNSHARED = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


@dataclass(frozen=True)
class Shape:
    """How many processes, on how many (emulated) nodes."""

    nodes: int
    per_node: int

    @property
    def world(self) -> int:
        """All processes."""
        return self.nodes * self.per_node

    def __str__(self) -> str:
        return str(self.per_node) if self.nodes == 1 else f"{self.nodes} x {self.per_node}"


@dataclass(frozen=True)
class Start:
    """One command that a person (or his scheduler, on one of the nodes) gives."""

    argv: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """One way to start the ranks."""

    name: str
    starts: Callable[[Shape, Sequence[str]], list[Start]]
    """Gives the commands for a shape and for the words after `python`."""
    is_regiment: bool = False


def free_port() -> int:
    """Give a port that nobody has at this moment."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        number: int = holder.getsockname()[1]
        return number


def _python() -> str:
    return str(BIN / "python")


def _torchrun(shape: Shape, script: Sequence[str]) -> list[Start]:
    if shape.nodes == 1:
        return [Start([str(BIN / "torchrun"), "--standalone", f"--nproc-per-node={shape.per_node}", *script])]
    there = ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    size = [f"--nnodes={shape.nodes}", f"--nproc-per-node={shape.per_node}"]
    return [Start([str(BIN / "torchrun"), *size, f"--node-rank={n}", *there, *script]) for n in range(shape.nodes)]


def _restarting_torchrun(shape: Shape, script: Sequence[str]) -> list[Start]:
    (start,) = _torchrun(shape, script)
    program, *rest = start.argv
    return [Start([program, "--max-restarts=1", "--monitor-interval=0.1", *rest], _UNSHARED)]


def _accelerate(shape: Shape, script: Sequence[str]) -> list[Start]:
    # What it calls multi_gpu is torchrun within its own process, and gloo where there is no GPU.
    size = [f"--num_machines={shape.nodes}", f"--num_processes={shape.world}"]
    rest = ["--mixed_precision=no", "--dynamo_backend=no", f"--main_process_port={free_port()}"]
    there = ["--main_process_ip=127.0.0.1"] if shape.nodes > 1 else []
    argv = [str(BIN / "accelerate"), "launch", "--multi_gpu", *size, *rest, *there]
    return [Start([*argv, f"--machine_rank={n}", *script]) for n in range(shape.nodes)]


def _torchx(shape: Shape, script: Sequence[str]) -> list[Start]:
    size = f"{shape.nodes}x{shape.per_node}"
    name, *arguments = script
    line = ["run", "--scheduler=local_cwd", "--wait", "dist.ddp", f"-j={size}", f"--script={name}", "--", *arguments]
    return [Start([str(_TORCHX), *line])]


def _mpirun(shape: Shape, script: Sequence[str]) -> list[Start]:
    environ = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    size = ["-n", str(shape.world), "--oversubscribe", "--bind-to", "none"]
    root = ["--allow-run-as-root"] if os.getuid() == 0 else []
    return [Start([str(BIN / "mpirun"), *root, *size, _python(), *script], environ)]


def _bare(shape: Shape, script: Sequence[str]) -> list[Start]:
    there = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(shape.world)}
    # What every launcher sets as well: without it each rank takes all processors.
    there["OMP_NUM_THREADS"] = "1"
    return [Start([_python(), *script], {**there, "RANK": str(rank)}) for rank in range(shape.world)]


def _regiment(*flags: str) -> Callable[[Shape, Sequence[str]], list[Start]]:
    def starts(shape: Shape, script: Sequence[str]) -> list[Start]:
        size = ["--nodes", str(shape.nodes), "--nproc", str(shape.per_node)]
        return [Start([_python(), "-m", "regiment", "run", "--quiet", *size, *flags, "--", "python", *script])]

    return starts


def _restarting_regiment(shape: Shape, script: Sequence[str]) -> list[Start]:
    job = {
        "command": shlex.join(["python", *script]),
        "distribution": {"type": "pytorch", "process_count_per_instance": shape.per_node},
        "resources": {"instance_count": shape.nodes},
        "regiment": {"start_method": "fork", "restarts": {"max": 1, "backoff": 0}},
    }
    path = Path(script[1]) / "job.yml"
    path.write_text(json.dumps(job), "utf-8")
    return [Start([_python(), "-m", "regiment", "run", "--quiet", str(path)])]


TORCHRUN = Contender("torchrun", _torchrun)
TORCHRUN_RESTARTS = Contender("torchrun --max-restarts 1", _restarting_torchrun)
"""Its store sharing is off: with it, a restart fails (pytorch#135712)."""
ACCELERATE = Contender("accelerate launch", _accelerate)
TORCHX = Contender("TorchX local_cwd", _torchx)
MPIRUN = Contender("mpirun", _mpirun)
BARE = Contender("bare processes", _bare)
REGIMENT_TORCHRUN = Contender("regiment, torchrun", _regiment("--type", "pytorch"), True)
REGIMENT_SPAWN = Contender("regiment, spawn", _regiment("--type", "pytorch", "--start-method", "spawn"), True)
REGIMENT_FORK = Contender("regiment, fork", _regiment("--type", "pytorch", "--start-method", "fork"), True)
REGIMENT_RESTARTS = Contender("regiment, fork, restarts: {max: 1, backoff: 0}", _restarting_regiment, True)
REGIMENT_MPI = Contender("regiment, mpi", _regiment("--type", "mpi"), True)


def has_torchx() -> bool:
    """Say whether there is a TorchX to be measured."""
    return shutil.which(_TORCHX) is not None
