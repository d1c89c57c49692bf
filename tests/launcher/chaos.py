"""One random fault in one emulated run, from a seed: what is done, and what the verdict has to be.

The expectation is computed from the fault alone, never from what Regiment says.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from regiment.jobs.record import RunRecord, RunStatus, read_record
from regiment.launcher.liveness import as_it_is

from .conftest import GUARD, Lab

DEADLY = [
    getattr(signal, f"SIG{name}")
    for name in "ABRT ALRM BUS FPE HUP ILL INT KILL PIPE QUIT SEGV SYS TERM TRAP USR1 USR2 VTALRM XCPU XFSZ".split()
]
"""Signals that end a process which knows nothing of them."""
SLEEP = "3600"

RANK = """\
echo $$ > "$CAME/.$RANK" && mv "$CAME/.$RANK" "$CAME/$RANK"
{stubborn}
{grandchild}
if [ "$RANK" = {victim} ]; then
    {wait} :
    {fault}
fi
while [ ! -e "$CAME/end" ]; do sleep {pause}; done
"""
"""A rank: says its pid, has its fault if it is the victim, and waits for the end; most runs have none."""
UNTIL_ALL_CAME = 'until [ "$(ls "$CAME" | wc -l)" -ge {} ]; do sleep 0.02; done;'


@dataclass(frozen=True)
class Case:
    """What is random."""

    seed: int
    kind: Kind
    nodes: int
    processes: int
    """On each node."""
    victim: int
    """A rank."""
    at_start: bool
    """Whether it strikes while the run is coming up."""
    exit_code: int
    signal: signal.Signals
    stubborn: bool
    """Whether the ranks ignore SIGTERM."""
    hides: bool
    """Whether each rank leaves a grandchild in a session of its own that carries nothing of the run."""
    delay: float
    """Seconds from when a victim can be seen to the blow, where it strikes at the start."""

    @property
    def world_size(self) -> int:
        return self.nodes * self.processes

    @property
    def node(self) -> int:
        """The victim's node."""
        return self.victim // self.processes

    def __str__(self) -> str:
        when = "at the start" if self.at_start else "while running"
        return f"seed {self.seed}: {self.kind.name} {when}, {self.nodes} x {self.processes}, victim {self.victim}"


@dataclass(frozen=True)
class Verdict:
    """What a run has to come to."""

    status: RunStatus
    exit_status: int
    """Of `regiment run`, the way a shell has it."""
    message: str = ""
    """A regular expression for the cause."""
    rank: int | None = None
    job_exit_code: int | None = None


@dataclass
class Trial:
    """The run of a case."""

    case: Case
    lab: Lab
    killed: list[int] = field(default_factory=list)

    @property
    def came(self) -> Path:
        return self.lab.folder / "came"

    @property
    def hidden(self) -> bytes:
        """The command line of the grandchildren that carry nothing of the run."""
        return f"sleep\0{SLEEP}.{int(self.lab.mark[:12], 16)}\0".encode()

    def start(self) -> subprocess.Popen[str]:
        """Start the run and wait for the moment to strike."""
        case = self.case
        self.came.mkdir()
        seconds = self.hidden.decode().split("\0")[1]
        text = RANK.format(
            victim=case.victim,
            stubborn="trap '' TERM" if case.stubborn else "",
            grandchild=f"env -i setsid -f sleep {seconds}" if case.hides else "",
            wait="" if case.at_start else UNTIL_ALL_CAME.format(case.world_size),
            fault=case.kind.program(case),
            pause="0.05" if case.kind.ends else SLEEP,
        )
        self.lab.write("rank.sh", text)
        flags = ["--type", "pytorch", "--start-method", "spawn", "--nproc", str(case.processes)]
        flags = [*(flags if case.processes > 1 else []), *case.kind.flags(case)]
        flags += ["--grace", "0.2" if case.stubborn else "3600"]
        command = ["run", "--name", "r", "--nodes", str(case.nodes), *flags, "--", "sh", "rank.sh"]
        process = self.lab.start(*command, CAME=str(self.came))
        if not case.at_start and case.kind.strike is not _nothing:
            self.wait_until(lambda: len(self.pids()) == case.world_size)
        return process

    def pids(self) -> dict[int, int]:
        """Give the pids of the ranks that have come so far."""
        return {int(path.name): int(path.read_text()) for path in self.came.glob("[0-9]*")}

    def record(self) -> RunRecord | None:
        path = self.lab.run_folder("r") / "run.json"
        return read_record(path) if path.exists() else None

    def coordinator(self) -> int | None:
        """Give the coordinator's pid once it has taken up the run."""
        record = self.record()
        is_up = record is not None and record.coordinator is not None and record.coordinator.socket is not None
        return record.coordinator.pid if is_up and record and record.coordinator else None

    def on_node(self, name: str, node: int) -> int | None:
        """Give the pid of a node's keeper or agent, as soon as it calls itself so."""
        tag = re.compile(rb"(^|\0)REGIMENT_TAG=\w+\.%d-0\0" % node)
        for pid in self.lab.processes():
            try:
                if Path(f"/proc/{pid}/comm").read_text().strip() != name:
                    continue
                # An agent that has just been forked is called as its keeper is.
                parent = Path(f"/proc/{self.lab.parent(pid)}/comm").read_text().strip()
                if parent != name and tag.search(Path(f"/proc/{pid}/environ").read_bytes()):
                    return pid
            except OSError:
                continue
        return None

    def kill(self, find: Callable[[], int | None], number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process as soon as it is there."""
        found: list[int] = []

        def look() -> bool:
            pid = find()
            found.extend([] if pid is None else [pid])
            return bool(found)

        self.wait_until(look)
        if self.case.at_start:
            time.sleep(self.case.delay)
        try:
            os.kill(found[0], number)
        except ProcessLookupError:
            assert self.killed, f"{found[0]} ended before its time"
        self.killed.append(found[0])

    def wait_until(self, condition: Callable[[], bool]) -> None:
        self.lab.wait_until(condition)

    def survivors(self) -> list[int]:
        """Give what of the job still lives: whatever came from this run and isn't Regiment's, hidden or not."""
        return [pid for pid in self.lab.processes() if b"rank.sh" in self.lab.command_line(pid)] + list(self._hidden())

    def _hidden(self) -> Iterator[int]:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "cmdline").read_bytes() == self.hidden:
                    yield int(folder.name)
            except OSError:
                continue


# --- the kinds of faults --------------------------------------------------------------------------------


def _nothing(trial: Trial, process: subprocess.Popen[str]) -> None:
    pass


def _none(case: Case) -> str:
    return ""


def _no_flags(case: Case) -> list[str]:
    return []


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    name: str
    expected: Callable[[Case], Verdict]
    program: Callable[[Case], str] = _none
    """What the victim does by itself, in shell."""
    strike: Callable[[Trial, subprocess.Popen[str]], None] = _nothing
    """What is done to the run from outside."""
    flags: Callable[[Case], list[str]] = _no_flags
    ends: bool = False
    """Whether the ranks end by themselves."""
    lingers: bool = False
    """Whether whoever would wait for the end of all processes is killed: they may outlive the viewer a moment."""


def _failed(case: Case, how: str, code: int) -> Verdict:
    who = "the process failed" if case.world_size == 1 else rf"rank {case.victim} on node-{case.node} failed first"
    return Verdict(RunStatus.FAILED, 1, rf"{who}: {how}", case.victim, code)


def _node_failed(case: Case) -> Verdict:
    return Verdict(RunStatus.FAILED, 3, rf"^node-{case.node} ")


def _canceled(message: str, exit_status: int) -> Callable[[Case], Verdict]:
    return lambda case: Verdict(RunStatus.CANCELED, exit_status, message)


def _signal_viewer(*numbers: signal.Signals) -> Callable[[Trial, subprocess.Popen[str]], None]:
    def strike(trial: Trial, process: subprocess.Popen[str]) -> None:
        trial.kill(lambda: process.pid if trial.coordinator() else None, numbers[0])
        for number in numbers[1:]:
            trial.wait_until(lambda: process.poll() is not None or bool(trial.lab.events("r", "stopping")))
            process.send_signal(number)

    return strike


def _kill_on_node(*names: str) -> Callable[[Trial, subprocess.Popen[str]], None]:
    def strike(trial: Trial, process: subprocess.Popen[str]) -> None:
        for name in names:
            trial.kill(lambda name=name: trial.on_node(name, trial.case.node))  # type: ignore[misc]

    return strike


def _kill_both(trial: Trial, process: subprocess.Popen[str]) -> None:
    """Kill agent and keeper as good as at once: the keeper is held, or it might do its work in between."""
    trial.kill(lambda: trial.on_node("regiment-keeper", trial.case.node), signal.SIGSTOP)
    keeper = trial.killed[0]
    agents = [pid for pid in trial.lab.processes() if trial.lab.parent(pid) == keeper]
    for pid in (*agents, keeper):
        os.kill(pid, signal.SIGKILL)


def _cancel(trial: Trial, process: subprocess.Popen[str]) -> None:
    trial.wait_until(lambda: trial.coordinator() is not None)
    if trial.case.at_start:
        time.sleep(trial.case.delay)
    result = trial.lab.run("cancel", "r")
    assert result.returncode == 0, result.stderr


def _stop_and_interrupt(trial: Trial, process: subprocess.Popen[str]) -> None:
    trial.kill(lambda: trial.pids().get(trial.case.victim), signal.SIGSTOP)
    process.send_signal(signal.SIGINT)


def _end(trial: Trial, process: subprocess.Popen[str]) -> None:
    trial.wait_until(lambda: len(trial.pids()) == trial.case.world_size)
    if trial.case.kind.name == "leaves early":
        trial.wait_until(lambda: bool(trial.lab.events("r", "process_exited")))
    (trial.came / "end").touch()


def _in_shell(number: signal.Signals) -> str:
    return f"kill -{number.name.removeprefix('SIG')} $$; sleep {SLEEP}"


_BY_CTRL_C = r"cancelled by Ctrl-C|the terminal it was attached to is gone"
"""Who is interrupted before he has come to watching goes at once; the run's end is the same."""

KINDS = (
    Kind(
        "exit code",
        lambda case: _failed(case, rf"exit code {case.exit_code}\b", case.exit_code),
        lambda case: f"exit {case.exit_code}",
    ),
    Kind(
        "exception",
        lambda case: _failed(case, "", 1),
        lambda case: f"exec python -I -S -c {shlex.quote(f'raise ValueError({case.seed})')}",
    ),
    Kind(
        "signal of its own",
        lambda case: _failed(case, f"killed by {case.signal.name}", 128 + case.signal),
        lambda case: _in_shell(case.signal),
    ),
    Kind(
        "rank killed",
        lambda case: _failed(case, "killed by SIGKILL", 137),
        strike=lambda trial, process: trial.kill(lambda: trial.pids().get(trial.case.victim)),
    ),
    Kind("agent killed", _node_failed, strike=_kill_on_node("regiment-agent")),
    Kind("keeper killed", _node_failed, strike=_kill_on_node("regiment-keeper")),
    Kind("agent and keeper killed", _node_failed, strike=_kill_both),
    Kind(
        "coordinator killed",
        lambda case: Verdict(RunStatus.FAILED, 3, "coordinator lost"),
        strike=lambda trial, process: trial.kill(trial.coordinator),
        lingers=True,
    ),
    Kind(
        "viewer killed",
        _canceled("the terminal it was attached to is gone", 137),
        strike=_signal_viewer(signal.SIGKILL),
        lingers=True,
    ),
    Kind("rank stopped, then Ctrl-C", _canceled(_BY_CTRL_C, 130), strike=_stop_and_interrupt),
    Kind("cancel", _canceled("cancel", 4), strike=_cancel),
    Kind("Ctrl-C", _canceled(_BY_CTRL_C, 130), strike=_signal_viewer(signal.SIGINT)),
    Kind("Ctrl-C twice", _canceled(_BY_CTRL_C, 130), strike=_signal_viewer(signal.SIGINT, signal.SIGINT)),
    Kind("SIGTERM", _canceled("SIGTERM|terminal", 143), strike=_signal_viewer(signal.SIGTERM)),
    Kind("SIGHUP", _canceled("SIGHUP|terminal", 129), strike=_signal_viewer(signal.SIGHUP)),
    Kind(
        "coordinator told to end",
        _canceled("SIGTERM", 4),
        strike=lambda trial, process: trial.kill(trial.coordinator, signal.SIGTERM),
    ),
    Kind(
        "time limit",
        _canceled("time limit", 4),
        flags=lambda case: ["--timeout", "0.05" if case.at_start else "0.5"],
    ),
    Kind("leaves early", lambda case: Verdict(RunStatus.COMPLETED, 0), lambda case: "exit 0", strike=_end, ends=True),
    Kind("none", lambda case: Verdict(RunStatus.COMPLETED, 0), strike=_end, ends=True),
)


def case_of(seed: int) -> Case:
    """Give the case of a seed: the kinds take turns, all else is random."""
    random_of = random.Random(seed)
    nodes, processes = random_of.randint(1, 3), random_of.randint(1, 4)
    return Case(
        seed=seed,
        kind=KINDS[seed % len(KINDS)],
        nodes=nodes,
        processes=processes,
        victim=random_of.randrange(nodes * processes),
        at_start=random_of.random() < 0.4,
        exit_code=random_of.randint(1, 255),
        signal=random_of.choice(DEADLY),
        stubborn=random_of.random() < 0.25,
        hides=random_of.random() < 0.25,
        delay=random_of.uniform(0.0, 0.1),
    )


def faults_of(trial: Trial) -> list[str]:
    """Let a case happen; gives what was not as it has to be."""
    case = trial.case
    process = trial.start()
    case.kind.strike(trial, process)
    _, said = process.communicate(timeout=GUARD)
    survivors = [] if case.kind.lingers else trial.survivors()
    trial.wait_until(lambda: not trial.lab.processes() and not trial.survivors())
    record = trial.record()
    assert record is not None
    return [*_faults_of(case, as_it_is(record), process.returncode, said), *(f"survivor {pid}" for pid in survivors)]


def _faults_of(case: Case, record: RunRecord, returncode: int, said: str) -> Iterator[str]:
    expected = case.kind.expected(case)
    message = record.error.message if record.error else ""
    status = 128 - returncode if returncode < 0 else returncode
    found = {
        "status": (record.status, expected.status),
        "exit status": (status, expected.exit_status),
        "rank": (record.error.rank if record.error else None, expected.rank),
        "exit code of the job": (record.job_exit_code, expected.job_exit_code),
    }
    yield from (f"{what}: {is_!r} and not {should!r}" for what, (is_, should) in found.items() if is_ != should)
    if not re.search(expected.message, message):
        yield f"cause: {message!r} and not {expected.message!r}"
    # Who interrupts before the watching has begun is told nothing.
    is_watched = returncode >= 0 and not (case.at_start and expected.exit_status > 128)
    if is_watched and message and message not in said:
        yield f"the person was told {said!r}"
