"""A place to run the real command line in, and the proof that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_MARK = "THE_TEST_THAT_STARTED_IT"

GUARD = 120.0
"""Seconds after which what is waited for never comes, however busy the machine is. It proves nothing else: where a
test shows that something does not wait for a grace, it gives one that is longer (`ENDLESS`)."""
ENDLESS = "3600"
"""A grace or a sleep in seconds that outlasts every test."""


@dataclass
class Lab:
    """A folder with a workspace of its own, and every process that is started from it."""

    folder: Path
    sockets: Path
    mark: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """The environment commands run with: the tests' own Python first, sockets in a folder that can be checked."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "XDG_RUNTIME_DIR": str(self.sockets), _MARK: self.mark, "TERM": "dumb"}

    def write(self, name: str, text: str) -> Path:
        """Write a file of the user's."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*arguments, **environ)
        out, err = process.communicate(timeout=GUARD)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def script(self, text: str, name: str = "script.py") -> subprocess.CompletedProcess[str]:
        """Run a Python program of the user's to its end, which must be a good one."""
        done = self.start_script(text, name)
        out, err = done.communicate(timeout=GUARD)
        assert done.returncode == 0, out + err
        return subprocess.CompletedProcess((name,), done.returncode, out, err)

    def start_script(self, text: str, name: str = "script.py") -> subprocess.Popen[str]:
        """Start a Python program of the user's in a session of its own."""
        return self.start_program([sys.executable, str(self.write(name, text))], {})

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own."""
        return self.start_program([sys.executable, "-m", "regiment", *arguments], environ)

    def start_program(self, argv: list[str], environ: dict[str, str]) -> subprocess.Popen[str]:
        """Start any program in a session of its own."""
        process = subprocess.Popen(
            argv,
            cwd=self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def show(self, run_id: str) -> dict[str, Any]:
        """Give what `regiment show -o json` says of a run."""
        result = self.run("show", run_id, "-o", "json")
        assert result.returncode == 0, result.stderr
        data: dict[str, Any] = json.loads(result.stdout)
        return data

    def run_folder(self, run_id: str) -> Path:
        """Give a run's folder."""
        return self.folder / ".regiment" / "runs" / run_id

    def status(self, run_id: str) -> list[dict[str, Any]]:
        """Give the rows of a run's `process_status.json`."""
        path = self.run_folder(run_id) / "azureml-logs" / "process_status.json"
        rows: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["processes"]
        return rows

    def statuses(self, run_id: str = "r") -> dict[str, str]:
        """Give how each process of a run ended, by its name."""
        return {row["name"]: row["status"] for row in self.status(run_id)}

    def events(self, run_id: str, kind: str) -> list[dict[str, Any]]:
        """Give a run's events of one kind."""
        *lines, _ = (self.run_folder(run_id) / "events.jsonl").read_text("utf-8").split("\n")  # The last may be half.
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def log(self, run_id: str, name: str) -> str:
        """Give the text of one of the run's logs."""
        return (self.run_folder(run_id) / "azureml-logs" / name).read_text("utf-8")

    def processes(self) -> list[int]:
        """Give all living processes that came from this lab, whoever their parents are now."""
        needle = f"{_MARK}={self.mark}".encode()
        found = []
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            try:
                if needle in self.environment(pid).split(b"\0") and not _is_zombie(pid):
                    found.append(pid)
            except OSError:
                continue
        return found

    def parent(self, pid: int) -> int | None:
        """Give the process that a process was started by, or None if it has ended meanwhile."""
        try:
            return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return None

    def command_line(self, pid: int) -> bytes:
        """Give a process's command line, a zero byte after each word; nothing if it has ended meanwhile."""
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""

    def environment(self, pid: int) -> bytes:
        """Give a process's environment, a zero byte after each variable; nothing if it has ended meanwhile."""
        try:
            return Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return b""

    def that_run(self, words: bytes) -> list[int]:
        """Give the living processes of this lab with these words in their command lines."""
        return [pid for pid in self.processes() if words in self.command_line(pid)]

    def kill_node(self, run_id: str, index: int, *victims: str) -> None:
        """Kill a node's `agentPid`, its `keeperPid`, or (where none is named) both as good as at once."""
        node = self.show(run_id)["nodes"][index]
        victims = victims or ("agentPid", "keeperPid")
        if len(victims) > 1:
            os.kill(node["keeperPid"], signal.SIGSTOP)  # Else it might do its work before it is killed.
        for victim in victims:
            try:
                os.kill(node[victim], signal.SIGKILL)
            except ProcessLookupError:
                assert victim == "keeperPid"  # The coordinator has found the agent dead, and was faster.

    def wait_until(self, condition: Callable[[], Any], seconds: float = GUARD) -> float:
        """Wait for something to come true; gives how long it took, fails the test if it does not."""
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < seconds, "it did not come true in time"
            time.sleep(0.01)
        return time.monotonic() - start

    def everybody(self, processes: int) -> str:
        """Give a line of shell that waits until that many processes have come to it, on whatever node."""
        here = [f"'{self.folder}/came-{rank}'" for rank in range(processes)]
        there = " && ".join(f"[ -e {path} ]" for path in here)
        return f"touch '{self.folder}'/came-$RANK; until {there}; do sleep 0.05; done"

    def wait_until_running(self, run_id: str, processes: int) -> None:
        """Wait until that many processes of a run have been started."""
        events = self.run_folder(run_id) / "events.jsonl"
        self.wait_until(lambda: events.exists() and len(self.events(run_id, "process_started")) == processes)


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@contextmanager
def open_lab(folder: Path) -> Iterator[Lab]:
    """Give a lab in a folder, and fail if a process or a socket of it is left at the end."""
    sockets = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
    lab = Lab(folder, sockets, uuid.uuid4().hex)
    try:
        yield lab
        # Runs that a test left alive on purpose are its own to end; what dies of a test's kill needs a moment.
        lab.wait_until(lambda: not lab.processes())
        assert list(sockets.iterdir()) == [], f"left behind: {sorted(sockets.rglob('*'))}"
    finally:
        for pid in lab.processes():
            os.kill(pid, signal.SIGKILL)
        for process in lab.started:
            process.communicate()
        shutil.rmtree(sockets)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Give a lab for one test."""
    with open_lab(tmp_path) as lab:
        yield lab
