"""MPI jobs with the real thing: Open MPI 5 from its wheel, Debian's Open MPI 4 and MPICH, and mpi4py in every rank."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .conftest import ENDLESS, GUARD, Lab

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
SHARED_MEMORY = Path("/dev/shm")

HELLO = """
import os
from mpi4py import MPI
world = MPI.COMM_WORLD
names = "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE NODE_RANK AZ_BATCH_NODE_ID COLOUR".split()
print("sum", world.allreduce(world.rank), *(os.environ[name] for name in names), flush=True)
assert (world.rank, world.size) == (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
"""
# The others wait in a collective for a rank that has failed, as they do in training.
FAIL = """
import os, sys, time
from mpi4py import MPI
world = MPI.COMM_WORLD
world.barrier()
open("met-%d" % world.rank, "w").close()
if world.rank == 2:
    {failure}
world.barrier()
"""
# One is killed, and the others need longer to save than any mpirun would give them.
SAVE = """
import os, pathlib, signal, time
from mpi4py import MPI
rank = MPI.COMM_WORLD.rank

def save(number, frame):
    time.sleep(2)
    pathlib.Path(f"saved-{rank}").touch()
    os._exit(0)

signal.signal(signal.SIGTERM, save)
pathlib.Path(f"here-{rank}").touch()
while len(list(pathlib.Path().glob("here-*"))) < 4:
    time.sleep(0.01)
if rank == 2:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(3600)
"""


@dataclass(frozen=True)
class Flavour:
    """One mpirun, and what makes mpi4py use its library."""

    mpirun: str
    environ: dict[str, str] = field(default_factory=dict)

    def run(self, lab: Lab, *flags: str, program: str = "job.py") -> tuple[str, ...]:
        environ = (word for name, value in self.environ.items() for word in ("--env", f"{name}={value}"))
        shape = ("--nodes", "2", "--nproc", "2", "--type", "mpi", "--mpirun", self.mpirun)
        return ("run", "--name", "r", *shape, *environ, *flags, "--", "python", program)


SYSTEM = [pytest.mark.mpi, pytest.mark.mpi_system]
FLAVOURS = [
    pytest.param("open-mpi-5", id="open-mpi-5", marks=[pytest.mark.mpi]),
    pytest.param("open-mpi-4", id="open-mpi-4", marks=SYSTEM),
    pytest.param("mpich", id="mpich", marks=SYSTEM),
]
pytestmark = pytest.mark.slow


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Flavour]:
    """Give each mpirun in turn, and fail the test if it leaves something in shared memory."""
    with _noting_shared_files(lab) as mapped:
        yield _flavour(request.param, lab.folder)
    lab.wait_until(lambda: not lab.processes())
    assert [str(folder) for folder in _shared_folders(lab)] == []
    assert [path for path in sorted(mapped) if Path(path).exists()] == []


def _shared_folders(lab: Lab) -> list[Path]:
    """Give the folders in shared memory that are called like this lab's own runs, which are kept on record."""
    records = [json.loads(file.read_text("utf-8")) for file in lab.run_folder("*").parent.glob("*/run.json")]
    names = [Path(record["coordinator"]["socket"]).parent.name for record in records]
    return [folder for name in names for folder in SHARED_MEMORY.glob(f"{name}-*")]


@contextmanager
def _noting_shared_files(lab: Lab) -> Iterator[set[str]]:
    """Collect the files in shared memory that this lab's own processes have in their memory while they run.

    MPICH's files are called after nothing of ours, and other runs on this machine have theirs beside them.
    """
    found: set[str] = set()
    over = threading.Event()

    def note() -> None:
        while not over.wait(0.02):
            for pid in lab.processes():
                found.update(_mapped(pid))

    noting = threading.Thread(target=note, daemon=True)
    noting.start()
    try:
        yield found
    finally:
        over.set()
        noting.join()


def _mapped(pid: int) -> list[str]:
    try:
        maps = Path(f"/proc/{pid}/maps").read_text("utf-8", "replace")
    except OSError:
        return []  # It has ended meanwhile.
    paths = [f"/{line.partition('/')[2]}" for line in maps.splitlines()]
    # What has lost its name goes with the process.
    return [path for path in paths if path.startswith(f"{SHARED_MEMORY}/") and not path.endswith(" (deleted)")]


def _flavour(name: str, folder: Path) -> Flavour:
    if name == "open-mpi-5":
        return Flavour(str(Path(sys.executable).with_name("mpirun")))
    if name == "open-mpi-4":
        return Flavour("mpirun.openmpi", {"MPI4PY_LIBMPI": str(LIBRARIES / "libmpi.so.40")})
    # The wheel of mpi4py looks for MPICH's library under the name that MPICH itself gives it; Debian's has another.
    library = folder / "mpich" / "libmpi.so.12"
    library.parent.mkdir()
    library.symlink_to(LIBRARIES / "libmpich.so.12")
    environ = {"MPI4PY_LIBMPI": str(library), "MPI4PY_MPIABI": "mpich", "LD_LIBRARY_PATH": str(library.parent)}
    return Flavour("mpiexec.mpich", environ)


def test_ranks_meet_over_two_nodes_and_each_has_the_contract(lab: Lab, flavour: Flavour) -> None:
    lab.write("job.py", HELLO)
    result = lab.run(*flavour.run(lab, "--env", "COLOUR=blue"))
    assert result.returncode == 0, result.stdout + result.stderr
    for rank in range(4):
        line = f"sum 6 {rank} 4 {rank % 2} 2 {rank // 2} node-{rank // 2} blue\n"
        assert line in lab.log("r", f"node-{rank // 2}/70_driver_log_{rank}.txt")
    assert [row["status"] for row in lab.status("r")] == ["Completed"] * 4
    assert (lab.run_folder("r") / "azureml-logs" / "70_mpi_log.txt").exists()


def test_an_exception_in_one_rank_ends_the_job_and_is_the_cause(lab: Lab, flavour: Flavour) -> None:
    lab.write("job.py", FAIL.format(failure="raise ValueError('bad batch')"))
    result = lab.run(*flavour.run(lab))
    assert result.returncode == 1, result.stdout + result.stderr
    assert "rank 2 on node-1 failed first: exit code 1" in result.stderr
    verdict = result.stderr.partition("rank 2 on node-1 failed first")[2]
    assert "ValueError: bad batch" in verdict and "MPI_ABORT" not in verdict


def test_a_rank_that_says_itself_that_it_has_failed_ends_the_job(lab: Lab, flavour: Flavour) -> None:
    lab.write("job.py", FAIL.format(failure="sys.exit(3)"))
    result = lab.run(*flavour.run(lab))
    assert result.returncode == 1, result.stdout + result.stderr
    assert "rank 2 on node-1 failed first: exit code 3" in result.stderr


def test_a_rank_that_ends_well_in_the_midst_of_it_all_ends_the_job_and_is_named(lab: Lab, flavour: Flavour) -> None:
    lab.write("job.py", FAIL.format(failure="os._exit(0)"))
    result = lab.run(*flavour.run(lab))
    assert result.returncode == 1, result.stdout + result.stderr
    assert "rank 2 on node-1 ended before the others with exit code 0 (perhaps without MPI_Fina" in result.stderr


def test_a_daemon_that_is_killed_ends_the_job_at_once_and_is_named(lab: Lab, flavour: Flavour) -> None:
    lab.write("job.py", FAIL.format(failure="time.sleep(3600)"))
    process = lab.start(*flavour.run(lab))
    _wait_until_met(lab)
    os.kill(_daemon(lab, lab.show("r")["nodes"][1]["agentPid"]), signal.SIGKILL)
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 1, err
    assert "mpirun's daemon on node-1 ended before its processes had ended: killed by SIGKILL" in err


def _wait_until_met(lab: Lab) -> None:
    """Wait until all ranks are through MPI_Init, and each other's."""
    lab.wait_until(lambda: len(list(lab.folder.glob("met-*"))) == 4)


def _daemon(lab: Lab, agent: int) -> int:
    """Give the process that node 1's agent started for mpirun: its only child that is neither wrapper nor rank."""
    children = [pid for pid in lab.processes() if lab.parent(pid) == agent]
    names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in children}
    found = [pid for pid, name in names.items() if name in ("prted", "orted", "hydra_pmi_proxy", "sh")]
    assert len(found) == 1, names
    return found[0]


def test_mpi4pys_own_runner_names_the_exception_too(lab: Lab, flavour: Flavour) -> None:
    lab.write("job.py", FAIL.format(failure="raise ValueError('bad batch')"))
    words = flavour.run(lab)
    result = lab.run(*words[: words.index("--")], "--", "python", "-m", "mpi4py", "job.py")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "rank 2 on node-1 failed first" in result.stderr
    assert "ValueError: bad batch" in result.stderr.partition("rank 2 on node-1 failed first")[2]


def test_a_killed_rank_is_the_cause_and_the_others_have_their_grace(lab: Lab, flavour: Flavour) -> None:
    lab.write("job.py", SAVE)
    result = lab.run(*flavour.run(lab, "--grace", ENDLESS))
    assert result.returncode == 1, result.stdout + result.stderr
    assert "rank 2 on node-1 failed first: killed by SIGKILL" in result.stderr
    saved = {path.name for path in lab.folder.glob("saved-*")}
    assert saved == {"saved-0", "saved-1", "saved-3"}, "mpirun cut the grace of the others short"


def test_a_program_that_knows_nothing_of_mpi_runs_as_well(lab: Lab, flavour: Flavour) -> None:
    lab.write("job.py", "import os, time; time.sleep(int(os.environ['RANK']) / 5); print(os.environ['RANK'])")
    result = lab.run(*flavour.run(lab))
    assert result.returncode == 0, result.stdout + result.stderr
    assert [lab.log("r", f"node-{rank // 2}/70_driver_log_{rank}.txt") for rank in range(4)] == [
        *"0\n 1\n 2\n 3\n".split(" ")
    ]


def test_cancelling_leaves_nothing(lab: Lab, flavour: Flavour) -> None:
    lab.write("job.py", FAIL.format(failure="time.sleep(3600)"))
    process = lab.start(*flavour.run(lab))
    _wait_until_met(lab)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GUARD)
    assert process.returncode == 130
    assert [row["status"] for row in lab.status("r")] == ["Canceled"] * 4


@pytest.mark.mpi
def test_each_ranks_folder_in_shared_memory_is_its_own_nodes(lab: Lab, tmp_path: Path) -> None:
    """What mpirun passes on is node 0's, which a node on another machine has not."""
    lab.write(
        "job.py",
        "import os; where = os.environ['OMPI_MCA_btl_sm_backing_directory']; os.listdir(where)\n"
        "print(os.environ['NODE_RANK'], os.path.basename(where).partition('-node-')[2])\n",
    )
    result = lab.run(*_flavour("open-mpi-5", tmp_path).run(lab))
    assert result.returncode == 0, result.stdout + result.stderr
    for rank in range(4):
        node = rank // 2
        assert lab.log("r", f"node-{node}/70_driver_log_{rank}.txt") == f"{node} {node}.sock\n"


@pytest.mark.mpi
def test_a_node_that_is_lost_ends_the_job(lab: Lab, tmp_path: Path) -> None:
    lab.write("job.py", FAIL.format(failure="time.sleep(3600)"))
    process = lab.start(*_flavour("open-mpi-5", tmp_path).run(lab))
    _wait_until_met(lab)
    lab.kill_node("r", 1)
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 3 and "node-1 is lost" in err, err


def test_an_mpirun_that_is_not_there_or_is_none_is_named(lab: Lab) -> None:
    result = lab.run("run", "--type", "mpi", "--mpirun", "no-such-mpirun", "--", "true")
    assert result.returncode == 2 and "no-such-mpirun" in result.stderr
    lab.write("mpirun", "#!/bin/sh\necho my own 1.0\n").chmod(0o755)
    result = lab.run("run", "--type", "mpi", "--mpirun", "./mpirun", "--", "true")
    assert result.returncode == 2 and "my own 1.0" in result.stderr and "Open MPI" in result.stderr
    result = lab.run("run", "--type", "mpi", "--mpirun-arg=--tag-output", "--mpirun", "/bin/false", "--", "true")
    assert result.returncode == 2 and "/bin/false" in result.stderr
