"""An agent that imports for ranks nobody has asked for yet: one of the warm pool, until a run takes it as its node's.

It is started for no run, with the process that imports below it; so that process's forks become the agent's children
as any ranks do. A run hands it the node's configuration and the environment that its processes inherit.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from regiment.distribution.environment import is_leftover
from regiment.distribution.plan import NodePlan
from regiment.distribution.pythonline import PythonCall
from regiment.jobs.dataclass import dataclass
from regiment.jobs.plain import from_plain

from . import processes
from .config import NodeConfig
from .giving import take_config
from .limits import raise_limits
from .loop import Loop
from .preloaded import Origin, Preloaded, origin
from .preloads import Preloads
from .programs import LATE_PROGRAM, Programs, copy_source
from .spawn import CannotStart, find_program

PATH_MAX = 2000
"""Characters of the name that stands for the program, and that its path may have at most."""
_OF_SHELLS = frozenset(
    """
    PWD OLDPWD SHLVL _ TERM COLORTERM COLUMNS LINES TERM_PROGRAM TERM_PROGRAM_VERSION VTE_VERSION WINDOWID DISPLAY
    TMUX TMUX_PANE STY WINDOW SSH_CLIENT SSH_CONNECTION SSH_TTY SSH_AUTH_SOCK XDG_SESSION_ID DBUS_SESSION_BUS_ADDRESS
    """.split()
)
"""Variables of one terminal or session, which no import has a use for."""
_SET_LATER = frozenset({"OMP_NUM_THREADS", "PYTHONPATH"})
"""Variables that a fork can still be given the effect of; of PYTHONPATH what isn't ours is compared."""


@dataclass(frozen=True)
class WarmOrder:
    """What to import, and as what."""

    config: NodeConfig
    """A node's, made up: where its folders are."""
    plan: NodePlan
    """What a job would have planned for the node, with the name that stands for its program."""
    modules: tuple[str, ...]
    free: tuple[str, ...] = ()
    """Further variables that may differ."""


class Warm:
    """What such an agent has when a run takes it."""

    def __init__(self, order: WarmOrder) -> None:
        """Begin to import; raises CannotStart."""
        self.loop = Loop()
        self.preloads = Preloads()
        self._config = b""
        folder = os.path.dirname(order.config.socket)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chdir(folder)
        programs = Programs(order.config, order.plan)
        argv = order.plan.processes[0].argv
        plain = origin(programs, PythonCall(argv, (), argv[-1]), order.modules)
        copy_source("late_program.py", f"{programs.temporary}/preload/{LATE_PROGRAM}.py")
        found = WarmOrigin(
            plain.call, plain.program, plain.modules, plain.folder, plain.environ, "the warm pool", order.free
        )
        self.preloads.current = preloaded = Preloaded(self.loop, found, 2)
        preloaded.on_said = lambda data: self._said(preloaded, data)
        preloaded.on_end = self.loop.stop

    def wait(self, giver: socket.socket, report: Callable[[dict[str, Any]], None]) -> bytes:
        """Wait for a node's configuration; gives its line, nothing where there is to be no node.

        `report` hears what comes of the import.
        """
        self._report = report
        self.loop.on_read(giver.fileno(), lambda: self._take(giver))
        self.loop.run()
        self.loop.on_read(giver.fileno(), None)
        if not self._config:
            self.preloads.end()
        return self._config

    def _said(self, preloaded: Preloaded, data: dict[str, Any]) -> None:
        preloaded.is_idle = data.get("type") == "fit"
        self._report(data)
        if not preloaded.is_idle:
            self.loop.stop()

    def _take(self, giver: socket.socket) -> None:
        self._config = take_config(giver)
        self.loop.stop()


def be_warm(line: bytes, giver: socket.socket) -> tuple[bytes, Warm | None]:
    """Do what a line asks for that the warm pool's keepers pass on; gives the node's line that came at last."""
    processes.become_subreaper("regiment-agent")
    raise_limits()
    try:
        warm = Warm(from_plain(WarmOrder, json.loads(line)["warm"]))
    except CannotStart as error:
        _report({"type": "unfit", "reason": str(error)})
        return b"", None
    return warm.wait(giver, _report), warm


@dataclass(frozen=True)
class WarmOrigin(Origin):
    """What the warm pool's import comes from: no program yet, and no run."""

    free: tuple[str, ...] = ()

    @property
    def purpose(self) -> str:
        """Say which command it is for."""
        return "whatever script comes"

    def of_rank(self, wanted: Origin, own: dict[str, Any]) -> dict[str, Any]:
        """Tell a rank of its program too, and of the node's processors, which were not the node's at the start."""
        program = {
            "words": wanted.call.words,
            "arguments": own["arguments"],
            "folder": wanted.folder[0],
            "executable": find_program(wanted.call.words[0], wanted.environ),
            "start": _own_start(wanted.environ),
            "oldStart": _own_start(self.environ),
        }
        return {**own, "program": program, "cpus": own["cpus"] or tuple(sorted(os.sched_getaffinity(0)))}

    def difference(self, wanted: Origin) -> str | None:
        """Say what is another one there, as the beginning of a sentence; None where ranks can be forked from it."""
        if wanted.call.script is None or len(wanted.call.words) != 2:
            return "the command starts more than a script"
        if len(wanted.call.words[1]) > PATH_MAX:
            return "the path of the script is too long"
        if not all(path.startswith("/") for path in _search_path(wanted.environ)):
            return "PYTHONPATH has another meaning in each folder"
        if _interpreter(self) != _interpreter(wanted):
            return "Python has changed"
        if self.modules != wanted.modules:
            return "the list of modules has changed"
        theirs, ours = _relevant(self.environ, self.free), _relevant(wanted.environ, self.free)
        changed = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
        return f"the variable {changed[0]} has changed" if changed else None


def _interpreter(origin: Origin) -> tuple[str, str]:
    """Tell a Python from others; a virtual environment's is a link, whose folder says which environment it is of."""
    path = find_program(origin.call.words[0], origin.environ)
    return os.path.realpath(path), os.path.realpath(os.path.dirname(path))


def _relevant(environ: Mapping[str, str], free: tuple[str, ...]) -> dict[str, str]:
    """Give the variables that an import may depend on."""
    dropped = _OF_SHELLS | _SET_LATER | frozenset(free)
    found = {name: value for name, value in environ.items() if name not in dropped and not is_leftover(name)}
    return {**found, "PYTHONPATH": ":".join(_search_path(environ))}


def _search_path(environ: Mapping[str, str]) -> list[str]:
    """Give what the user has in PYTHONPATH: before it come the folders of what imports, and of the job's Pythons."""
    return environ["PYTHONPATH"].split(":")[2:]


def _own_start(environ: Mapping[str, str]) -> str:
    """Give the folder with what the job's Pythons start with."""
    return environ["PYTHONPATH"].split(":")[1]


def _report(words: dict[str, Any]) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")
