"""Ranks that are forked from a process which has imported what they need: the agent's part of it.

That process (`preload.py`) imports once, the ranks then come up in milliseconds. Where it is not fit to be forked, or a
command is not plainly a start of Python, the ranks are started one by one instead, and the reason is told.
"""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from regiment.distribution.pythonline import NotPlain, PythonCall

from . import launchers, messages
from .channel import Channel
from .forkable import Forkable, forkable
from .loop import Loop
from .nodelog import Kind, NodeLog
from .programs import Programs
from .pump import LogPump
from .spawn import PASSED, CannotStart, spawn

if TYPE_CHECKING:
    from .ranks import Rank

_ORDER = "REGIMENT_PRELOAD"
"""The variable by which that process is told what to import; `preload.py` reads it."""
_MOST_AT_ONCE = 250
"""So many pipes can go with one message (the kernel's SCM_MAX_FD is 253)."""
_ENDED = "the process that was to import what they need has ended"


class Forks:
    """One node's."""

    def __init__(
        self,
        loop: Loop,
        log: NodeLog,
        pump: LogPump,
        tell: Callable[[messages.FromAgent], None],
        spawn_rank: Callable[[Rank], None],
        open_log: Callable[[Rank], int],
        on_started: Callable[[Rank, int, int | None], None],
        on_fit: Callable[[], None],
    ) -> None:
        """`on_started` gets a rank, its pid, and its wait status where it has ended already.

        `on_fit` hears that what the ranks need has been imported.
        """
        self._loop = loop
        self._log = log
        self._pump = pump
        self._tell = tell
        self._spawn_rank = spawn_rank
        self._open_log = open_log
        self._on_started = on_started
        self._on_fit = on_fit
        self._channel: Channel | None = None
        self._waiting: dict[int, tuple[Rank, Forkable]] = {}
        self._is_ordered = False
        self._early_ends: dict[int, int] = {}

    def start(self, programs: Programs, modules: Iterable[str], ranks: Iterable[Rank]) -> None:
        """Start the ranks in the current folder: those that can be forked when the modules are imported, others now."""
        for rank in ranks:
            try:
                found = forkable(programs, rank.plan)
                first = next(iter(self._waiting.values()), None)
                if first is not None and first[1].call.words != found.call.words:
                    raise NotPlain("its command starts another program than the first one's")
                if len(self._waiting) == _MOST_AT_ONCE:
                    raise NotPlain(f"there are more than {_MOST_AT_ONCE} of them on a node")
                self._waiting[rank.plan.rank] = rank, found
            except NotPlain as error:
                self._explain(str(error))
                self._spawn_rank(rank)
        if self._waiting:
            _, found = next(iter(self._waiting.values()))
            self._start_preload(programs, found.call, tuple(modules))

    def stop(self) -> None:
        """Start no more ranks; those that are being forked still report."""
        if not self._is_ordered:
            self._waiting.clear()

    def reaped(self, pid: int, status: int) -> None:
        """Remember the end of a child that nobody knows: a rank may end before its first message is read."""
        if self._waiting:
            self._early_ends[pid] = status

    def _start_preload(self, programs: Programs, call: PythonCall, modules: tuple[str, ...]) -> None:
        self._log.write(Kind.EXECUTION, f"importing {', '.join(modules) or 'nothing'} for: {shlex.join(call.words)}")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        environ = programs.preload_environ({_ORDER: f"{PASSED}:{','.join(modules)}:{_first_in_path(call)}"})
        output = self._pump.open(launchers.STREAM, self._log.path(Kind.EXECUTION))
        try:
            spawn([*call.words, *call.arguments], environ, output, passed=theirs.fileno())
            self._channel = Channel(self._loop, ours, self._said, self._hung_up)
        except CannotStart as error:
            ours.close()
            self._spawn_instead(str(error))
        finally:
            theirs.close()
            os.close(output)

    def _said(self, data: dict[str, Any]) -> None:
        match data:
            case {"type": "fit"}:
                self._on_fit()
                self._order()
            case {"type": "unfit", "reason": str(reason)}:
                self._spawn_instead(reason)
            case {"type": "started", "rank": int(number), "pid": int(pid)} if number in self._waiting:
                rank, _ = self._waiting.pop(number)
                self._on_started(rank, pid, self._early_ends.pop(pid, None))
                if not self._waiting:
                    self._early_ends.clear()
            case {"type": "notForked", "rank": int(number), "reason": str(reason)} if number in self._waiting:
                rank, _ = self._waiting.pop(number)
                self._explain(reason)
                self._spawn_rank(rank)

    def _order(self) -> None:
        """Have all waiting ranks forked."""
        assert self._channel is not None
        outputs: list[int] = []
        orders = []
        for number, (rank, found) in self._waiting.items():
            self._log.write(Kind.EXECUTION, f"forking rank {number}: {[*found.call.words, *found.call.arguments]}")
            outputs.append(self._open_log(rank))
            own = {"rank": number, "environ": found.environ, "arguments": found.call.arguments, "cpus": rank.plan.cpus}
            orders.append(own)
        try:
            if orders:
                self._channel.send({"ranks": orders}, fds=tuple(outputs))
                self._is_ordered = True
        except OSError:
            pass  # It has just been killed; the end of the connection says so as well.
        finally:
            for output in outputs:
                os.close(output)

    def _hung_up(self) -> None:
        self._channel = None
        self._spawn_instead(_ENDED)

    def _spawn_instead(self, reason: str) -> None:
        """Start what is still waiting one by one; those that wait at the gate of a killed process have reported."""
        waiting, self._waiting = self._waiting, {}
        self._early_ends.clear()
        if waiting:
            self._explain(reason)
        for rank, _ in waiting.values():
            self._spawn_rank(rank)

    def _explain(self, reason: str) -> None:
        # In the same words from every node: the coordinator says them once.
        text = f"start_method fork: processes are started one by one instead, for {reason}"
        self._log.write(Kind.EXECUTION, text)
        self._tell(messages.Note("info", text))


def _first_in_path(call: PythonCall) -> str:
    """Give what Python will put first into `sys.path`."""
    if call.script is None:
        return os.getcwd() if call.is_module else ""
    return os.path.dirname(os.path.realpath(call.script))
