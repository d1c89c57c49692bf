"""Other launchers and ours on the same scripts, in one go: the tables of docs/benchmarks.md, which `make bench` writes.

The ways alternate, so that a busy moment of the machine meets all of them. Medians count, and how they compare.
"""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import contenders as ways
from .contenders import BIN, Contender, Shape
from .published import publish

pytestmark = [pytest.mark.benchmark, pytest.mark.torch, pytest.mark.mpi]

ROUNDS = 5
PATIENCE = 300.0
"""Seconds after which what is waited for never comes."""
_MARK = "THE_BENCHMARK_THAT_STARTED_IT"
_PREFIX = """\
import time
first = time.time()
import os, sys
rank = int(os.environ.get("RANK") or os.environ["OMPI_COMM_WORLD_RANK"])
world = int(os.environ.get("WORLD_SIZE") or os.environ["OMPI_COMM_WORLD_SIZE"])
def mark(name, value):
    path = os.path.join(sys.argv[1], f"{name}-{rank}")
    with open(path + "~", "w") as file: file.write(repr(value))
    os.rename(path + "~", path)
"""
FIRST_SUM = (
    _PREFIX
    + """\
mark("line", first)
import torch, torch.distributed as dist
dist.init_process_group("gloo", rank=rank, world_size=world)
total = torch.ones(1)
dist.all_reduce(total)
assert total.item() == world
mark("sum", time.time())
dist.destroy_process_group()
"""
)
FIRST_MPI_SUM = (
    _PREFIX
    + """\
mark("line", first)
from mpi4py import MPI
assert MPI.COMM_WORLD.allreduce(1) == world
mark("sum", time.time())
"""
)
BARE_FORK = """\
import os, sys, time, torch
folder, world = sys.argv[2], int(sys.argv[3])
open(os.path.join(folder, "ready"), "w").close()
while not os.path.exists(os.path.join(folder, "go")): time.sleep(0.001)
sys.argv[:] = sys.argv[1:3]
code = compile(open(sys.argv[0]).read(), sys.argv[0], "exec")
for rank in range(world):
    if os.fork() == 0:
        os.environ["RANK"] = str(rank)
        exec(code, {"__name__": "__main__"})
        os._exit(0)
for _ in range(world): os.wait()
"""
"""No launcher at all: one process imports, and then forks the ranks when it is told to."""
RESTARTED = (
    _PREFIX
    + """\
is_first = not os.path.exists(os.path.join(sys.argv[1], f"died-{world - 1}"))
import torch, torch.distributed as dist
dist.init_process_group("gloo", rank=rank, world_size=world)
dist.all_reduce(torch.ones(1))
if is_first:
    if rank == world - 1:
        mark("died", time.time())
        os._exit(1)
    time.sleep(3600)
mark("again", time.time())
dist.destroy_process_group()
"""
)
DYING = (
    _PREFIX
    + """\
mark("pid", os.getpid())
while rank == world - 1:
    time.sleep(0.01)
    if os.path.exists(os.path.join(sys.argv[1], "die")): os._exit(1)
time.sleep(3600)
"""
)
PRINTING = (
    _PREFIX
    + """\
line = "x" * 99
for _ in range(10_000_000): print(line)
sys.stdout.flush()
mark("printed", time.time() - first)
"""
)


class Course:
    """A folder with a script and the marks that its processes leave."""

    def __init__(self, folder: Path, script: str) -> None:
        self.folder = folder
        self.script = script
        (folder / "script.py").write_text(script, "utf-8")
        self.number = 0
        self.marks = folder
        self.tag = uuid.uuid4().hex
        self.processes: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def started(self, way: Contender, shape: Shape, output: int = subprocess.DEVNULL) -> Iterator[list[int]]:
        """Start the script one way; gives the pids of what was started, and leaves nothing of it."""
        self.number += 1
        self.marks = self.folder / f"marks-{self.number}"
        self.marks.mkdir()
        base = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", _MARK: self.tag, "OMP_NUM_THREADS": "1"}
        errors = (self.marks / "errors").open("w")
        self.processes = processes = [
            subprocess.Popen(
                start.argv,
                cwd=self.folder,
                env={**base, **start.environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
            for start in way.starts(shape, [str(self.folder / "script.py"), str(self.marks)])
        ]
        try:
            yield [process.pid for process in processes]
            for process in processes:
                process.wait(PATIENCE)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            errors.close()
            wait_until(lambda: not tagged(self.tag) or kill(tagged(self.tag)))

    def run(self, way: Contender, shape: Shape) -> dict[str, float]:
        """Run the script to its end; gives the seconds until the last process left each mark."""
        started = time.time()
        with self.started(way, shape):
            pass
        times: dict[str, float] = {}
        for name in ("line", "sum"):
            found = [path for rank in range(shape.world) if (path := self.marks / f"{name}-{rank}").exists()]
            assert len(found) == shape.world, f"{way.name}: {(self.marks / 'errors').read_text()[-2000:]}"
            times[name] = max(float(path.read_text()) for path in found) - started
        return times

    def mark(self, name: str) -> float:
        """Wait for one process's mark."""
        path = self.marks / name
        wait_until(lambda: path.exists() or all(process.poll() is not None for process in self.processes))
        assert path.exists(), f"no {name}: {(self.marks / 'errors').read_text()[-2000:]}"
        return float(path.read_text())


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def tagged(mark: str) -> list[int]:
    """Give the living processes that were started with a mark in their environment."""
    needle, found = f"{_MARK}={mark}".encode(), []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            if needle in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
        except OSError:
            continue
    return found


def kill(pids: Sequence[int]) -> bool:
    """Kill what a launcher has left behind; says False, for it takes a moment."""
    for pid in pids:
        subprocess.run(["kill", "-9", str(pid)], stderr=subprocess.DEVNULL, check=False)
    return False


def ratios(found: dict[str, list[float]], base: str) -> dict[str, float]:
    """Give each median in terms of one of them."""
    medians = {name: statistics.median(values) for name, values in found.items()}
    return {name: value / medians[base] for name, value in medians.items()}


SHAPES = {
    "2": (Shape(1, 2), ROUNDS),
    "8": (Shape(1, 8), ROUNDS),
    "32": (Shape(1, 32), ROUNDS),
    "2x4": (Shape(2, 4), ROUNDS),
}
WAYS = [
    ways.TORCHRUN,
    ways.BARE,
    ways.MPIRUN,
    ways.ACCELERATE,
    ways.TORCHX,
    ways.REGIMENT_TORCHRUN,
    ways.REGIMENT_SPAWN,
    ways.REGIMENT_FORK,
]
FEW = [ways.TORCHRUN, ways.REGIMENT_TORCHRUN, ways.REGIMENT_SPAWN, ways.REGIMENT_FORK]
"""At 32 processes all that import PyTorch take a minute each."""


@pytest.mark.parametrize("which", SHAPES)
def test_command_to_first_line_and_first_all_reduce(tmp_path: Path, which: str) -> None:
    shape, rounds = SHAPES[which]
    chosen = FEW if shape.world == 32 else [way for way in WAYS if shape.nodes == 1 or way is not ways.MPIRUN]
    assert ways.has_torchx(), "'make bench' sets up TorchX and says where it is"
    course = Course(tmp_path, FIRST_SUM)
    lines: dict[str, list[float]] = {way.name: [] for way in chosen}
    sums: dict[str, list[float]] = {way.name: [] for way in chosen}
    for _ in range(rounds):
        for way in chosen:
            times = course.run(way, shape)
            lines[way.name].append(times["line"])
            sums[way.name].append(times["sum"])
    compared = ratios(sums, "torchrun")
    rows = [
        [name, _seconds(lines[name]), _seconds(sums[name]), f"{compared[name]:.2f}", _range(sums[name])]
        for name in sums
    ]
    header = ["launcher", "last rank's first line", "first all-reduce", "ratio to torchrun", "all tries"]
    publish(f"start of {which}", header, rows, f"Medians of {rounds}.")


@pytest.mark.parametrize("count", [8, 32])
def test_start_from_a_warm_pool(tmp_path: Path, count: int) -> None:
    shape, course = Shape(1, count), Course(tmp_path, FIRST_SUM)
    names = [ways.TORCHRUN.name, "regiment, fork, warm pool", "bare forks of a Python with PyTorch"]
    lines: dict[str, list[float]] = {name: [] for name in names}
    sums: dict[str, list[float]] = {name: [] for name in names}
    with warm_pool(course) as warm:
        for _ in range(ROUNDS):
            for name in names:
                warm()  # What the last run took has been imported again by then.
                way = ways.TORCHRUN if name == names[0] else ways.REGIMENT_FORK
                times = bare_forks(course, shape) if name == names[2] else course.run(way, shape)
                lines[name].append(times["line"])
                sums[name].append(times["sum"])
    compared = ratios(sums, "torchrun")
    rows = [
        [name, _seconds(lines[name]), _seconds(sums[name]), f"{compared[name]:.3f}", _range(sums[name])]
        for name in sums
    ]
    header = ["launcher", "last rank's first line", "first all-reduce", "ratio to torchrun", "all tries"]
    publish(f"start of {count}, warm", header, rows, f"Medians of {ROUNDS}.")


@contextmanager
def warm_pool(course: Course) -> Iterator[Callable[[], None]]:
    """Keep PyTorch imported; gives what waits until that is so."""
    regiment = [str(BIN / "python"), "-m", "regiment", "warm"]
    environ = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

    def warm(*flags: str) -> None:
        subprocess.run([*regiment, "--any-env", _MARK, *flags], cwd=course.folder, env=environ, check=True)

    try:
        yield warm
    finally:
        warm("--stop")


def bare_forks(course: Course, shape: Shape) -> dict[str, float]:
    """Fork the ranks from a process that has imported PyTorch, with nothing else; times are from the word to fork."""
    program = course.folder / "forks.py"
    program.write_text(BARE_FORK, "utf-8")
    course.number += 1
    course.marks = course.folder / f"marks-{course.number}"
    course.marks.mkdir()
    there = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(ways.free_port()), "WORLD_SIZE": str(shape.world)}
    argv = [str(BIN / "python"), str(program), str(course.folder / "script.py"), str(course.marks), str(shape.world)]
    with subprocess.Popen(argv, env={**os.environ, **there, "OMP_NUM_THREADS": "1"}) as process:
        wait_until(lambda: (course.marks / "ready").exists())
        time.sleep(0.5)
        told = time.time()
        (course.marks / "go").touch()
        assert process.wait(PATIENCE) == 0
    return {name: max(course.mark(f"{name}-{rank}") for rank in range(shape.world)) - told for name in ("line", "sum")}


def test_mpirun_and_through_us(tmp_path: Path) -> None:
    shape, course = Shape(1, 4), Course(tmp_path, FIRST_MPI_SUM)
    sums: dict[str, list[float]] = {way.name: [] for way in (ways.MPIRUN, ways.REGIMENT_MPI)}
    for _ in range(ROUNDS):
        for way in (ways.MPIRUN, ways.REGIMENT_MPI):
            sums[way.name].append(course.run(way, shape)["sum"])
    compared = ratios(sums, "mpirun")
    rows = [[name, _seconds(sums[name]), f"{compared[name]:.2f}", _range(sums[name])] for name in sums]
    publish("mpirun", ["launcher", "first all-reduce", "ratio to mpirun", "all tries"], rows, f"Medians of {ROUNDS}.")


def test_restart_after_one_rank_died(tmp_path: Path) -> None:
    shape, course = Shape(1, 8), Course(tmp_path, RESTARTED)
    chosen = [ways.TORCHRUN_RESTARTS, ways.REGIMENT_RESTARTS]
    took: dict[str, list[float]] = {way.name: [] for way in chosen}
    for _ in range(ROUNDS):
        for way in chosen:
            with course.started(way, shape):
                died = course.mark(f"died-{shape.world - 1}")
                again = max(course.mark(f"again-{rank}") for rank in range(shape.world))
            took[way.name].append(again - died)
    compared = ratios(took, ways.TORCHRUN_RESTARTS.name)
    rows = [[name, _seconds(took[name]), f"{compared[name]:.2f}", _range(took[name])] for name in took]
    header = ["launcher", "death to the next all-reduce", "ratio to torchrun", "all tries"]
    publish("restart", header, rows, f"Medians of {ROUNDS}.")


def test_death_of_a_rank_to_the_last_peer_gone(tmp_path: Path) -> None:
    shape, course = Shape(1, 8), Course(tmp_path, DYING)
    chosen = [ways.TORCHRUN, ways.ACCELERATE, ways.MPIRUN, ways.REGIMENT_SPAWN]
    took: dict[str, list[float]] = {way.name: [] for way in chosen}
    for _ in range(ROUNDS):
        for way in chosen:
            with course.started(way, shape):
                pids = [int(course.mark(f"pid-{rank}")) for rank in range(shape.world)]
                files = [os.pidfd_open(pid) for pid in pids]
                (course.marks / "die").touch()
                select.select([files[-1]], [], [], PATIENCE)
                died = time.monotonic()
                for file in files:
                    select.select([file], [], [], PATIENCE)
                    os.close(file)
                took[way.name].append(time.monotonic() - died)
    rows = [[name, _milliseconds(took[name]), _range(took[name], 1000)] for name in took]
    publish("death", ["launcher", "death to the last peer gone, ms", "all tries"], rows, f"Medians of {ROUNDS}.")


def test_what_a_printed_gigabyte_costs(tmp_path: Path) -> None:
    shape, course = Shape(1, 1), Course(tmp_path, PRINTING)
    chosen = [ways.BARE, ways.TORCHRUN, ways.MPIRUN, ways.REGIMENT_SPAWN]
    printed: dict[str, list[float]] = {way.name: [] for way in chosen}
    kept: dict[str, list[float]] = {way.name: [] for way in chosen}
    for _ in range(ROUNDS):
        for way in chosen:
            started = time.time()
            out = os.devnull if way.is_regiment else str(tmp_path / "out")
            with Path(out).open("wb") as file, course.started(way, shape, file.fileno()):
                pass
            kept[way.name].append(time.time() - started)
            printed[way.name].append(course.mark("printed-0"))
            _delete_logs(tmp_path)
    compared = ratios(printed, ways.BARE.name)
    rows = [[n, _seconds(printed[n]), f"{compared[n]:.2f}", _seconds(kept[n]), _range(printed[n])] for n in printed]
    header = ["launcher", "the rank prints for", "ratio to a plain file", "the whole command", "all tries"]
    publish("logs", header, rows, f"Medians of {ROUNDS}. The others write into the file that is their standard output.")


def test_memory_and_idle_processor_time(tmp_path: Path) -> None:
    shape, course = Shape(1, 2), Course(tmp_path, DYING)
    rows = []
    for way in (ways.TORCHRUN, ways.MPIRUN, ways.REGIMENT_SPAWN):
        with course.started(way, shape):
            ranks = {int(course.mark(f"pid-{rank}")) for rank in range(shape.world)}
            time.sleep(2)  # Until starting is over.
            own = set(tagged(course.tag)) - ranks
            memory = sum(proportional_memory(pid) for pid in own)
            before = sum(processor_time(pid) for pid in own)
            time.sleep(20)
            idle = (sum(processor_time(pid) for pid in own) - before) / 20
            (course.marks / "die").touch()
        rows.append([way.name, str(len(own)), f"{memory / 1e6:.0f}", f"{idle * 100:.2f}"])
    publish("memory", ["launcher", "its processes", "memory (PSS), MB", "of a core while idle, %"], rows)


def proportional_memory(pid: int) -> int:
    """Give the bytes a process has, its share of what several have."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def processor_time(pid: int) -> float:
    """Give the seconds a process, with all its threads, has run so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _delete_logs(folder: Path) -> None:
    subprocess.run(["rm", "-rf", folder / "out", folder / ".regiment"], check=True)


def _seconds(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s"


def _milliseconds(values: list[float]) -> str:
    return f"{statistics.median(values) * 1000:.0f}"


def _range(values: list[float], factor: int = 1) -> str:
    digits = 2 if factor == 1 else 0
    return f"{min(values) * factor:.{digits}f} to {max(values) * factor:.{digits}f}"
