"""The job's processes on one node, from their start to the proof that nothing of them is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regiment.distribution.environment import TORCHRUN_SETS, merged
from regiment.distribution.plan import SHELL, NodePlan, ProcessPlan
from regiment.distribution.torchrun import WRAPPER

from . import messages, processes
from .channel import Channel
from .config import NodeConfig
from .loop import Loop
from .nodelog import Kind, NodeLog
from .pump import LogPump
from .spawn import CannotStart, shell, spawn

_LAUNCHER = "launcher"
"""The launcher's name among the log pump's streams; ranks go by their numbers."""
_SWEEP_INTERVAL = 0.005
"""Seconds between killing what is left and looking whether it has gone."""
_LATE_REPORTS = 0.1
"""Seconds in which the last reports of a launcher's wrappers are read before its own end counts."""


@dataclass
class Rank:
    """One process of the job."""

    plan: ProcessPlan
    pid: int | None = None
    """The user's process, which leads a session and process group of its own."""
    ended: bool = False
    asked: bool = False
    """Whether it was sent a signal to end, by us or by its launcher."""
    wrapper: Channel | None = None
    """Its wrapper, where a launcher started it."""

    @property
    def running(self) -> bool:
        """Say whether it has been started and has not ended."""
        return self.pid is not None and not self.ended

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and its group."""
        if self.running and self.pid is not None:
            # One that has ended already, and only waits to be reaped, ended without being asked.
            self.asked = self.asked or not processes.is_zombie(self.pid)
            processes.send_group(self.pid, number)


class Ranks:
    """Starts, watches and ends a node's processes; decides nothing."""

    def __init__(
        self, loop: Loop, config: NodeConfig, keeper: int, log: NodeLog, tell: Callable[[messages.FromAgent], None]
    ) -> None:
        self._loop = loop
        self._config = config
        self._keeper = keeper
        self._log = log
        self._tell = tell
        self._pump = LogPump(self._log_grew, self._log_trouble)
        self._plan: NodePlan | None = None
        self._logs = Path()
        self._ranks: dict[int, Rank] = {}
        self._launcher: int | None = None
        self._kill_timer: int | None = None
        self._stopping = False
        self._terminated = False
        self._on_clean: list[Callable[[], None]] = []
        self.clean = False
        """Whether it is proved that none of the run's processes is alive here, and none will be started."""

    # --- starting -----------------------------------------------------------------------------------

    def start(self, plan: NodePlan, logs: Path) -> None:
        """Start the node's processes, or the launcher that starts them, in the current folder."""
        if self._stopping:
            return
        self._plan, self._logs = plan, logs
        self._ranks = {process.rank: Rank(process) for process in plan.processes}
        if plan.launcher is not None:
            self._start_launcher(plan)
        else:
            for rank in self._ranks.values():
                self._start_rank(plan, rank)

    def _start_launcher(self, plan: NodePlan) -> None:
        assert plan.launcher is not None
        argv = self._real_argv(plan.launcher.argv)
        self._log.write(Kind.EXECUTION, f"starting {plan.launcher.name}: {argv}")
        output = self._pump.open(_LAUNCHER, self._log.path(Kind.EXECUTION))
        try:
            self._launcher = spawn(argv, self._environ(plan, {}), output)
        except CannotStart as error:
            os.write(output, f"{error}\n".encode())
            self._tell(messages.LauncherEnded(error.exit_code, None))
        finally:
            os.close(output)

    def _start_rank(self, plan: NodePlan, rank: Rank) -> None:
        argv = self._real_argv(rank.plan.argv)
        self._log.write(Kind.EXECUTION, f"starting rank {rank.plan.rank}: {argv}")
        output = self._open_log(rank)
        try:
            rank.pid = spawn(argv, self._environ(plan, rank.plan.environ), output)
            self._tell(messages.Started(rank.plan.rank, rank.pid))
        except CannotStart as error:
            os.write(output, f"{error}\n".encode())
            self._ended(rank, error.exit_code, None)
        finally:
            os.close(output)

    def _environ(self, plan: NodePlan, process: Mapping[str, str]) -> dict[str, str]:
        own = {processes.TAG: self._config.tag, "REGIMENT_SOCKET": self._config.socket}
        return merged(os.environ, plan.defaults, plan.path_first, plan.environ, own, process)

    def _real_argv(self, argv: tuple[str, ...]) -> list[str]:
        wrapper = [self._config.python, "-I", "-S", self._config.zip, "wrapper"]
        places = {WRAPPER: wrapper, SHELL: [shell()]}
        return [real for word in argv for real in places.get(word, [word])]

    def _open_log(self, rank: Rank) -> int:
        return self._pump.open(str(rank.plan.rank), self._logs / rank.plan.log)

    # --- rank wrappers ------------------------------------------------------------------------------

    def wrapper_called(self, channel: Channel, hello: dict[str, Any]) -> bool:
        """Give a wrapper its orders; False if there is nothing for it to do any more."""
        rank = self._ranks.get(hello.get("rank", -1))
        if rank is None or self._stopping or rank.running:
            return False
        rank.wrapper, rank.pid, rank.ended, rank.asked = channel, None, False, False
        output = self._open_log(rank)
        # What torchrun sets it knows best: where it is elastic, ranks are not the planned ones.
        environ = {name: value for name, value in rank.plan.environ.items() if name not in TORCHRUN_SETS}
        order = {"argv": self._real_argv(rank.plan.argv), "environ": environ, "folder": os.getcwd()}
        try:
            channel.send(order, fds=(output,))
        except OSError:
            return False  # Its launcher has just killed it.
        finally:
            os.close(output)
        return True

    def wrapper_said(self, channel: Channel, data: dict[str, Any]) -> None:
        """Take down what a wrapper reports of its process."""
        rank = self._rank_of(channel)
        pid, status = data.get("pid"), data.get("status")
        if rank is None:
            return
        if data.get("type") == "started" and isinstance(pid, int):
            rank.pid = pid
            self._tell(messages.Started(rank.plan.rank, pid))
            if self._stopping:
                # Its order was on the way when the stop came.
                rank.send(signal.SIGKILL if self._kill_timer is None else signal.SIGTERM)
        elif data.get("type") == "ended" and isinstance(status, int):
            rank.asked = rank.asked or bool(data.get("asked"))
            self._ended(rank, *processes.outcome(status))

    def wrapper_hung_up(self, channel: Channel) -> None:
        """End the process of a wrapper that went without a report; it is reaped as our orphan."""
        rank = self._rank_of(channel)
        if rank is not None:
            rank.wrapper = None
            if rank.running and rank.pid is not None:
                processes.send_group(rank.pid, signal.SIGKILL)
                self._loop.call_later(_LATE_REPORTS, lambda: self._end_unseen(rank))

    def _end_unseen(self, rank: Rank) -> None:
        """Count a process as ended that is gone without a word: its wrapper reaped it and died before its report."""
        if rank.running and rank.pid is not None and processes.is_zombie(rank.pid):
            self._ended(rank, None, None)

    def _rank_of(self, channel: Channel) -> Rank | None:
        return next((rank for rank in self._ranks.values() if rank.wrapper is channel), None)

    # --- ends ---------------------------------------------------------------------------------------

    def reap(self) -> None:
        """Take down the ends of our children, and of the orphans we adopted."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._launcher:
                self._launcher_ended(*processes.outcome(status))
            for rank in self._ranks.values():
                if rank.pid == pid:
                    self._ended(rank, *processes.outcome(status))

    def _ended(self, rank: Rank, exit_code: int | None, signal_name: str | None) -> None:
        if rank.ended:
            return
        rank.ended = True
        self._log.write(Kind.EXECUTION, f"rank {rank.plan.rank} ended: {signal_name or f'exit code {exit_code}'}")
        self._tell(messages.Exited(rank.plan.rank, exit_code, signal_name, rank.asked, time.monotonic()))
        if self._stopping and not self._any_running():
            self._sweep()

    def _launcher_ended(self, exit_code: int | None, signal_name: str | None) -> None:
        self._launcher = None
        self._log.write(Kind.EXECUTION, f"the launcher ended: {signal_name or f'exit code {exit_code}'}")
        ended = messages.LauncherEnded(exit_code, signal_name)
        # What its wrappers had to say may still wait to be read, and comes first.
        self._loop.call_later(_LATE_REPORTS if self._any_running() else 0.0, lambda: self._tell(ended))

    def _any_running(self) -> bool:
        return any(rank.running for rank in self._ranks.values())

    # --- stopping -----------------------------------------------------------------------------------

    def stop(self, grace: float) -> None:
        """End the processes: SIGTERM, `grace` seconds, SIGKILL; with no grace, SIGKILL at once."""
        self._stopping = True
        self._forget_kill_timer()
        if grace <= 0 or not self._any_running():
            self._kill()
            return
        self._log.write(Kind.EXECUTION, f"stopping: SIGTERM, {grace:g} s, SIGKILL")
        self._kill_timer = self._loop.call_later(grace, self._kill)
        if self._terminated:
            return  # Only the time has changed; a second SIGTERM would disturb a process that is saving.
        self._terminated = True
        self._send_all(signal.SIGTERM)
        # A stopped process would not see the SIGTERM before it goes on.
        self._send_all(signal.SIGCONT)

    def when_clean(self, callback: Callable[[], None]) -> None:
        """Call back as soon as it is proved that nothing of the run is alive here."""
        if self.clean:
            callback()
        else:
            self._on_clean.append(callback)

    def end_leftovers(self, patience: float) -> None:
        """After all ranks have ended: give the launcher that many seconds to go, then kill what is left."""
        self._stopping = True
        if self._launcher is not None and patience > 0:
            self._loop.call_later(_SWEEP_INTERVAL, lambda: self.end_leftovers(patience - _SWEEP_INTERVAL))
        else:
            self._sweep()

    def wait_for_logs(self, seconds: float) -> bool:
        """Wait, in a thread that may, until all that was printed is in its file."""
        return self._pump.wait_until_idle(seconds)

    def _kill(self) -> None:
        self._forget_kill_timer()
        if self._any_running():
            self._log.write(Kind.EXECUTION, "killing what still runs")
            self._send_all(signal.SIGKILL)
        self._sweep()

    def _sweep(self) -> None:
        """Kill whatever is left, launcher and setsid grandchildren included, until there is proof that nothing is."""
        if self.clean:
            return
        living = processes.living_of_run(self._config.tag, os.getpid(), (self._keeper,))
        for pid in living:
            processes.send_signal(pid, signal.SIGKILL)
        if living or self._any_running():
            self._loop.call_later(_SWEEP_INTERVAL, self._sweep)
            return
        self._forget_kill_timer()
        self.clean = True
        for callback in self._on_clean:
            callback()

    def _send_all(self, number: signal.Signals) -> None:
        for rank in self._ranks.values():
            rank.send(number)

    def _forget_kill_timer(self) -> None:
        if self._kill_timer is not None:
            self._loop.cancel(self._kill_timer)
            self._kill_timer = None

    # --- logs; called from the pump's thread --------------------------------------------------------

    def _log_grew(self, name: str, size: int) -> None:
        if name != _LAUNCHER:
            self._loop.post(lambda: self._tell(messages.LogGrew(int(name), size)))

    def _log_trouble(self, name: str, what: str) -> None:
        who = "the launcher" if name == _LAUNCHER else f"rank {name}"
        note = messages.Note("warning", f"{who} on {self._config.node_id}: {what}")
        self._loop.post(lambda: self._tell(note))
