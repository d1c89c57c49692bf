"""Ranks that are forked from a process which has imported what they need: the agent's part of it.

That process (`preload.py`) imports once, the ranks then come up in milliseconds. Where it is not fit to be forked, or a
command is not plainly a start of Python, the ranks are started one by one instead, and the reason is told. Where a run
may start again it stays, and the next attempt's ranks are forked from it as well, if it would import the same now.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from regiment.distribution.pythonline import NotPlain, PythonCall

from . import launchers, messages
from .forkable import Forkable, forkable
from .loop import Loop
from .nodelog import Kind, NodeLog
from .preloaded import Origin, Preloaded, origin
from .programs import Programs
from .pump import LogPump
from .spawn import CannotStart

if TYPE_CHECKING:
    from .preloads import Preloads
    from .ranks import Rank

_MOST_AT_ONCE = 250
"""So many pipes can go with one message (the kernel's SCM_MAX_FD is 253)."""
_ENDED = "the process that was to import what they need has ended"
_ENDED_SINCE = "the process that had done so has ended"


class Forks:
    """One attempt's on one node."""

    def __init__(
        self,
        loop: Loop,
        preloads: Preloads,
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
        self._preloads = preloads
        self._log = log
        self._pump = pump
        self._tell = tell
        self._spawn_rank = spawn_rank
        self._open_log = open_log
        self._on_started = on_started
        self._on_fit = on_fit
        self._stays = False
        self._is_stopped = False
        self._has_spare = False
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
            self._find_preloaded(programs, found.call, tuple(modules))

    def stop(self) -> None:
        """Start no more ranks; those that are being forked still report."""
        self._is_stopped = True
        if not self._is_ordered:
            self._waiting.clear()

    def spared(self) -> tuple[int, ...]:
        """Give the pid of what may stay when all that runs is killed: nothing comes of it before the next attempt."""
        return self._preloads.idle if self._stays else ()

    def reaped(self, pid: int, status: int) -> None:
        """Remember the end of a child that nobody knows: a rank may end before its first message is read."""
        if self._waiting:
            self._early_ends[pid] = status

    def _find_preloaded(self, programs: Programs, call: PythonCall, modules: tuple[str, ...]) -> None:
        self._stays = programs.plan.may_start_again
        try:
            wanted = origin(programs, call, modules)
        except CannotStart as error:
            self._spawn_instead(str(error))
            return
        before = self._preloads.current
        if before is None:
            self._start_preload(wanted)
            return
        reason = _ENDED_SINCE if before.has_ended else before.origin.difference(wanted)
        if reason is not None:
            self._import_again(before, wanted, reason)
            return
        self._log.write(Kind.EXECUTION, f"forking from what {before.origin.whose} had imported: {before}")
        self._listen(before, wanted)
        if before.is_idle:
            before.renew(wanted)

    def _import_again(self, before: Preloaded, wanted: Origin, reason: str) -> None:
        before.end()
        self._log.write(Kind.EXECUTION, f"importing again, for {reason} since {before.origin.whose}'s import")
        self._start_preload(wanted)

    def _start_preload(self, wanted: Origin) -> None:
        output = self._pump.open(launchers.STREAM, self._log.path(Kind.EXECUTION))
        try:
            self._preloads.current = preloaded = Preloaded(self._loop, wanted, output)
            self._log.write(Kind.EXECUTION, f"importing {preloaded}")
            self._listen(preloaded, wanted)
        except CannotStart as error:
            self._preloads.current = None
            self._spawn_instead(str(error))
        finally:
            os.close(output)

    def _listen(self, preloaded: Preloaded, wanted: Origin) -> None:
        preloaded.on_said = lambda data: self._said(preloaded, wanted, data)
        preloaded.on_end = lambda: self._preload_ended(wanted)

    def _said(self, preloaded: Preloaded, wanted: Origin, data: dict[str, Any]) -> None:
        match data:
            case {"type": "fit"}:
                preloaded.is_idle = True
                if self._has_spare:
                    self._log.write(Kind.EXECUTION, "another one is ready for the next attempt")
                else:
                    self._on_fit()
                self._order(preloaded, wanted)
            case {"type": "stale", "reason": str(reason)}:
                self._import_again(preloaded, wanted, reason)
            case {"type": "unfit", "reason": str(reason)}:
                preloaded.end()
                self._preloads.current = None
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
            case {"type": "forked"}:
                preloaded.is_idle = True

    def _order(self, preloaded: Preloaded, wanted: Origin) -> None:
        """Have all waiting ranks forked."""
        outputs: list[int] = []
        orders = []
        for number, (rank, found) in self._waiting.items():
            self._log.write(Kind.EXECUTION, f"forking rank {number}: {[*found.call.words, *found.call.arguments]}")
            outputs.append(self._open_log(rank))
            own = {"rank": number, "environ": found.environ, "arguments": found.call.arguments, "cpus": rank.plan.cpus}
            orders.append(preloaded.origin.of_rank(wanted, own))
        try:
            if orders:
                preloaded.fork(orders, tuple(outputs))
                self._is_ordered = True
        except OSError:
            pass  # It has just been killed; the end of the connection says so as well.
        finally:
            for output in outputs:
                os.close(output)

    def _preload_ended(self, wanted: Origin) -> None:
        if self._waiting:
            self._spawn_instead(_ENDED)
        elif self._stays and not self._has_spare and not self._is_stopped:
            # So that the next attempt finds one. One that ends, too, would end again.
            self._has_spare = True
            self._log.write(Kind.EXECUTION, "the process that the ranks were forked from has ended")
            self._start_preload(wanted)

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
