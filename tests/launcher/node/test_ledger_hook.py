"""What tells of a start looks on: the program notices nothing, and never waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import regiment.launcher.node

SOURCE = Path(next(iter(regiment.launcher.node.__path__)))
SLOW = "import time\ntime.sleep(0.02)\n"


class Place:
    """A folder that a program runs in, and the agent's end of the pipe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        start = folder / "start"
        start.mkdir()
        (start / "sitecustomize.py").write_bytes((SOURCE / "python_start.py").read_bytes())
        (start / "regiment_ledger.py").write_bytes((SOURCE / "ledger_hook.py").read_bytes())
        self.path = folder / "marks"
        os.mkfifo(self.path)
        self.pipe = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def run(self, program: str, *, with_us: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
        path = [str(self.folder / "start")] if with_us else []
        return subprocess.run(
            [sys.executable, "main.py"],
            env={
                **os.environ,
                "PYTHONPATH": ":".join(path),
                "REGIMENT_ZIP": "/the.zip",
                "REGIMENT_MARKS": str(self.path),
                **environ,
            },
            cwd=self.write("main.py", program).parent,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def told(self) -> list[list[str]]:
        """The lines that were told, without times."""
        try:
            lines = os.read(self.pipe, 65536).decode().splitlines()
        except BlockingIOError:
            return []
        return [[words[2], *words[5:]] for words in (line.split(" ", 5) for line in lines)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    os.close(found.pipe)


def test_imports_that_take_time_are_told_and_those_within_them_are_not(place: Place) -> None:
    place.write("inner.py", SLOW)
    place.write("outer.py", f"import inner\n{SLOW}")
    assert place.run("import outer, inner").returncode == 0
    told = place.told()
    assert told[0] == ["interpreter", ""]
    assert ["import", "outer"] in told
    assert ["import", "inner"] not in told


@pytest.mark.parametrize(
    "module", ["import no_such_module", "1 / 0", "raise ImportError('mine')", "def f(:", "import other"]
)
def test_the_traceback_of_an_import_that_fails_is_as_it_always_is(place: Place, module: str) -> None:
    place.write("module.py", module)
    place.write("other.py", "def f():\n    raise RuntimeError('deep')\nf()\n")
    usual = place.run("import module", with_us=False)
    ours = place.run("import module")
    assert (ours.returncode, ours.stdout, ours.stderr) == (1, usual.stdout, usual.stderr)


def test_a_module_is_loaded_by_the_loader_that_it_always_has(place: Place) -> None:
    place.write("module.py", SLOW)
    program = (
        "import importlib, importlib.util, module\n"
        "found = importlib.util.find_spec('other')\n"
        "print(type(module.__loader__).__name__, vars(module.__loader__), type(found.loader).__name__)\n"
        "print(module.__spec__.loader is module.__loader__, module.__spec__.origin, module.__spec__.cached)\n"
        "importlib.reload(module)\n"
        "print(vars(module.__loader__))\n"
    )
    place.write("other.py", "")
    usual, ours = place.run(program, with_us=False), place.run(program)
    assert (ours.stdout, ours.stderr) == (usual.stdout, usual.stderr)
    assert [words for words in place.told() if words == ["import", "module"]]


def test_a_child_and_another_thread_tell_nothing(place: Place) -> None:
    place.write("module.py", SLOW)
    place.write("other.py", SLOW)
    program = (
        "import os, threading\n"
        "thread = threading.Thread(target=lambda: __import__('other')); thread.start(); thread.join()\n"
        "pid = os.fork()\n"
        "import module\n"
        "if pid: os.waitpid(pid, 0)\n"
    )
    assert place.run(program).returncode == 0
    told = place.told()
    assert told.count(["import", "module"]) == 1 and ["import", "other"] not in told


def test_a_pipe_that_is_full_or_gone_is_no_matter(place: Place) -> None:
    place.write("module.py", SLOW)
    filled = 0
    while True:
        try:
            filled += os.write(place.pipe, b"." * 4096)
        except BlockingIOError:
            break
    assert place.run("import module; print('done')").stdout == "done\n"
    assert place.run("import module; print('done')", REGIMENT_MARKS="/no/such/pipe").stdout == "done\n"


@pytest.mark.torch
@pytest.mark.slow
def test_a_rendezvous_that_fails_is_begun_and_not_over_and_the_function_is_what_it_was(place: Place) -> None:
    program = (
        "import inspect, torch.distributed as dist, torch.distributed.distributed_c10d as c10d\n"
        "print(inspect.signature(dist.init_process_group), dist.init_process_group.__module__)\n"
        "try: dist.init_process_group('no such backend', rank=0, world_size=1, init_method='tcp://127.0.0.1:1')\n"
        "except Exception as error: print(type(error).__name__)\n"
        "print(hasattr(c10d.init_process_group, '__wrapped__'), c10d.init_process_group.__name__)\n"
    )
    usual, ours = place.run(program, with_us=False), place.run(program)
    assert (ours.stdout, ours.returncode) == (usual.stdout, 0), ours.stderr
    assert [words[0] for words in place.told() if words[0] == "rendezvous"] == ["rendezvous"]
