"""The process that has imported what a node's ranks need, from the agent's side; it may serve several attempts."""

from __future__ import annotations

import os
import shlex
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

from regiment.distribution.environment import OF_ATTEMPT
from regiment.distribution.pythonline import PythonCall
from regiment.jobs.dataclass import dataclass

from . import processes
from .channel import Channel
from .loop import Loop
from .programs import Programs
from .spawn import PASSED, find_program, spawn

_ORDER = "REGIMENT_PRELOAD"
"""The variable by which it is told what to import; `preload.py` reads it."""


@dataclass(frozen=True)
class Origin:
    """All that an import may depend on and that the agent gives: with another one, ranks are not forked from it."""

    call: PythonCall
    """The start of Python; a rank's arguments are its own, only their number is one for all."""
    program: str
    """The very Python that is started."""
    modules: tuple[str, ...]
    folder: tuple[str, int, int]
    """The current one: its path may have become another folder's."""
    environ: Mapping[str, str]
    whose: str = "the last attempt"
    """Who had it started, before those whose ranks are to be forked from it."""

    @property
    def purpose(self) -> str:
        """Say which command it is for."""
        return shlex.join(self.call.words)

    def of_rank(self, wanted: Origin, own: dict[str, Any]) -> dict[str, Any]:
        """Give what a rank has to be told: no more than its `own` part where all was started for its program."""
        return own

    def difference(self, wanted: Origin) -> str | None:
        """Say what has changed since, as the beginning of a sentence; None where nothing has."""
        names = (self.environ.keys() | wanted.environ.keys()) - OF_ATTEMPT
        changed = sorted(name for name in names if self.environ.get(name) != wanted.environ.get(name))
        if changed:
            return f"the variable {changed[0]} has changed"
        pairs = {
            "the command": (self.call.words, wanted.call.words),
            "the number of arguments": (len(self.call.arguments), len(wanted.call.arguments)),
            "Python": (self.program, wanted.program),
            "the list of modules": (self.modules, wanted.modules),
            "the folder": (self.folder, wanted.folder),
        }
        return next((f"{name} has changed" for name, (one, other) in pairs.items() if one != other), None)


def origin(programs: Programs, call: PythonCall, modules: tuple[str, ...]) -> Origin:
    """Give what a process that is started now, in the current folder, comes from; raises CannotStart."""
    order = f"{PASSED}:{','.join(modules)}:{_first_in_path(call, os.getcwd())}"
    environ = programs.preload_environ({_ORDER: order})
    here = os.stat(".")
    program = os.path.realpath(find_program(call.words[0], environ))
    return Origin(call, program, modules, (os.getcwd(), here.st_dev, here.st_ino), environ)


class Preloaded:
    """One such process."""

    def __init__(self, loop: Loop, origin: Origin, output: int) -> None:
        """Start it in the current folder; what it prints until it is fit goes to `output`. Raises CannotStart."""
        self.origin = origin
        self.is_idle = False
        """Whether it has imported all, and has nothing to do: then it has no child, and will have none."""
        self.on_said: Callable[[dict[str, Any]], None] = lambda data: None
        self.on_end: Callable[[], None] = lambda: None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        call = origin.call
        try:
            self.pid = spawn([*call.words, *call.arguments], origin.environ, output, passed=theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel = Channel(loop, ours, self._said, self._ended)

    @property
    def has_ended(self) -> bool:
        """Say whether it is gone, or was ended."""
        return self._channel.closed

    def __str__(self) -> str:
        """Say what it has imported for which command."""
        return f"{', '.join(self.origin.modules) or 'nothing'} for: {self.origin.purpose}"

    def renew(self, wanted: Origin) -> None:
        """Ask whether what it has imported is still what an import would find; it says `fit` or `stale`."""
        self.is_idle = False
        self._channel.send({"type": "renew", "folder": _first_in_path(wanted.call, wanted.folder[0])})

    def fork(self, ranks: list[dict[str, Any]], outputs: tuple[int, ...]) -> None:
        """Have ranks forked; raises OSError where it has just been killed."""
        self.is_idle = False
        self._channel.send({"type": "fork", "ranks": ranks}, fds=outputs)

    def end(self) -> None:
        """Kill it, and hear no more of it; the agent reaps it with all others."""
        if not self._channel.closed:
            self._channel.close()
            processes.send_signal(self.pid, signal.SIGKILL)
        self.is_idle = False

    def _said(self, data: dict[str, Any]) -> None:
        self.on_said(data)

    def _ended(self) -> None:
        self.is_idle = False
        self.on_end()


def _first_in_path(call: PythonCall, folder: str) -> str:
    """Give what Python will put first into `sys.path`, in that current folder."""
    if call.script is None:
        return folder if call.is_module else ""
    return os.path.dirname(os.path.realpath(os.path.join(folder, call.script)))
