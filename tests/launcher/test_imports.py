"""What our processes import until a rank's first line is there, as Python itself tells it in a real run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import GUARD, Lab
from .join.nodes import Joined, ended

_PYTHON = """\
#!/bin/bash
exec -a "$0" "{python}" -X importtime "$@" 2>> "{folder}/$$"
"""
"""A Python that is itself wherever it is started again, and writes down what it imports."""

_HEAVY = frozenset(
    "asyncio base64 bz2 concurrent dataclasses difflib email hashlib http inspect jmespath logging lzma "
    "multiprocessing pathspec rich secrets shutil sqlite3 ssl subprocess tabulate tempfile tokenize torch "
    "unittest uuid yaml zipfile".split()
)
"""None of these is needed for a first line, and each takes longer to import than all that is said until then."""
_LIBRARY = {
    "command": "__future__ abc argparse array codecs collections contextlib copyreg ctypes datetime "
    "encodings enum errno fcntl fnmatch functools genericpath gettext heapq importlib io "
    "ipaddress itertools json keyword linecache locale marshal math ntpath operator os "
    "pathlib posix posixpath pwd re reprlib resource runpy select selectors shlex signal site "
    "sitecustomize socket stat struct threading time token types typing urllib warnings "
    "weakref zipimport zlib",
    "coordinator": "__future__ abc array bisect codecs collections contextlib copyreg ctypes datetime encodings "
    "enum errno fcntl fnmatch functools gc genericpath heapq importlib io ipaddress itertools "
    "json keyword marshal math ntpath operator os pathlib posix posixpath pwd re reprlib resource "
    "runpy select selectors shlex signal socket stat struct threading time types typing "
    "urllib warnings weakref zipimport",
    "keeper and agent": "__future__ abc array codecs collections contextlib copyreg ctypes datetime encodings "
    "enum errno fcntl fnmatch functools genericpath glob heapq importlib io ipaddress "
    "itertools json keyword marshal math ntpath operator os pathlib posix posixpath re "
    "reprlib resource runpy select selectors shlex signal socket stat struct threading time "
    "types typing urllib warnings weakref zipimport",
}
"""All that each process takes of the standard library; what begins with `_` is left out."""
_NONE = frozenset({"regiment", "nt", "org", "msvcrt"})
"""What is looked for there, and only Windows or Java has, and ourselves."""
_OURS = {
    "command": ("jobs", "distribution", "launcher"),
    "coordinator": (
        "jobs",
        "distribution",
        "launcher.coordinator",
        "launcher.backends",
        "launcher.node",
        "launcher.roles",
    ),
    "keeper and agent": ("jobs", "distribution", "launcher.node", "launcher.roles"),
}
"""Which of our rooms each process knows."""
_NOT_OURS = {
    "command": (
        "distribution.planner",
        "distribution.decide",
        "launcher.node.agent",
        "launcher.sdk",
        "launcher.cli.plan",
    ),
    "coordinator": ("launcher.node.agent", "launcher.node.keeper", "launcher.coordinator.asked"),
    "keeper and agent": ("distribution.planner", "distribution.decide", "jobs.record", "launcher.node.inputs"),
}
"""And what of these it has no use for in a plain run."""


@pytest.fixture
def recording(tmp_path: Path) -> tuple[Path, Path]:
    """Give such a Python, which has what the tests' own has, and the folder of what it writes."""
    folder, home = tmp_path / "imports", tmp_path / "python"
    folder.mkdir()
    (home / "bin").mkdir(parents=True)
    (home / "lib").symlink_to(Path(sys.prefix) / "lib")
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", home)
    python = home / "bin" / "python"
    python.write_text(_PYTHON.format(python=sys.executable, folder=folder), "utf-8")
    python.chmod(0o700)
    return python, folder


def imported(folder: Path) -> list[set[str]]:
    """Give what each process has imported."""
    line = re.compile(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", re.MULTILINE)
    return [set(line.findall(file.read_text("utf-8"))) for file in folder.iterdir()]


def imports(lab: Lab, recording: tuple[Path, Path]) -> dict[str, set[str]]:
    """Run a job whose rank is `true`, and give what was imported by whom; an agent is a fork of its keeper."""
    python, folder = recording
    for _ in range(2):  # The first run of a workspace packs the agent, and may take what that takes.
        for old in folder.iterdir():
            old.unlink()
        argv = [str(python), "-m", "regiment", "run", "--", "true"]
        subprocess.run(argv, cwd=lab.folder, env=lab.environ, timeout=GUARD, check=True, stdout=subprocess.DEVNULL)
    found = {}
    for modules in imported(folder):
        if "regiment.launcher.cli.main" in modules:
            found["command"] = modules
        elif "regiment.launcher.coordinator.life" in modules:
            found["coordinator"] = modules
        elif "regiment.launcher.node.keeper" in modules:
            found["keeper and agent"] = modules
    return found


def test_each_process_imports_only_what_a_first_line_takes(lab: Lab, recording: tuple[Path, Path]) -> None:
    found = imports(lab, recording)
    assert found.keys() == _LIBRARY.keys()
    for who, modules in found.items():
        tops = {name.partition(".")[0] for name in modules}
        assert not tops & _HEAVY, who
        if sys.version_info[:2] == (3, 11):  # Others import other parts of the library for the same.
            library = {top for top in tops if not top.startswith("_")} - _NONE
            assert not (more := library - set(_LIBRARY[who].split())), f"{who}: {sorted(more)}"
        ours = {name.removeprefix("regiment.") for name in modules if name.startswith("regiment.")}
        beyond = {name for name in ours if not f"{name}.".startswith(tuple(f"{room}." for room in _OURS[who]))}
        assert beyond <= {"launcher"}, who
        assert not {name for name in ours if name.startswith(_NOT_OURS[who])}, who


def test_only_the_ends_of_a_connection_over_the_network_know_of_it(lab: Lab, recording: tuple[Path, Path]) -> None:
    python, folder = recording
    nodes = Joined(lab, 2)
    argv = [str(python), "-m", "regiment", "agent", "--", "true"]
    started = [lab.start_program(argv, nodes.environ(rank)) for rank in (0, 1)]
    assert [ended(node).returncode for node in started] == [0, 0]
    certified = secured = 0
    for modules in imported(folder):
        certified += "cryptography" in modules
        secured += "ssl" in modules
        assert not modules & {"cryptography", "ssl"} or "regiment.launcher.cli.main" in modules
        assert "regiment.launcher.join.relay" not in modules or "cryptography" not in modules
    # Node 0's coordinator has ssl too, but writes into its log by then what it imports.
    assert (certified, secured) == (1, 1)
