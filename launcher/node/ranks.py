"""The job's processes on one node, from their start to the proof that nothing of them is left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regiment.distribution.mpirun import SHARED_MEMORY_NAMES
from regiment.distribution.plan import LauncherKind, LauncherPlan, ProcessPlan
from regiment.jobs.dataclass import dataclass

from . import launchers, messages, processes
from .cgroups import NodeGroup
from .channel import Channel
from .config import NodeConfig
from .loop import Loop
from .nodelog import Kind, NodeLog
from .notices import Notices, write_notice
from .programs import Programs
from .pump import LogPump
from .spawn import CannotStart, spawn
from .starts import Starts
from .stopped import StoppedRanks
from .witness import Witness
from .wrapped import kept_variables, launched_rank, launched_variables, number

if TYPE_CHECKING:
    from .forks import Forks
    from .preloads import Preloads

_SWEEP_INTERVAL = 0.005
"""Seconds between killing what is left and looking whether it has gone."""
_LATE_REPORTS = 0.1
"""Seconds in which the last report of a wrapper that hung up may still come in another way."""
_TIDY_LIMITS = {LauncherKind.TORCHRUN: 0.0, LauncherKind.MPIRUN: 1.0}
"""Seconds a launcher gets to tidy up after itself once its ranks have been ended; torchrun leaves nothing behind."""


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
    """Its wrapper, where a launcher started it; where Slurm did, the task that stands in for it."""
    given_rank: int | None = None
    """The rank that its launcher gave it, where that is the launcher's own choice."""

    @property
    def running(self) -> bool:
        """Say whether it has been started and has not ended."""
        return self.pid is not None and not self.ended

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and its group."""
        if self.running and self.pid is not None:
            # One that is ending already, or has ended and only waits to be reaped, does so without being asked.
            self.asked = self.asked or not processes.is_ending(self.pid)
            processes.send_group(self.pid, number)


class Ranks:
    """Starts, watches and ends a node's processes; decides nothing."""

    def __init__(
        self,
        loop: Loop,
        config: NodeConfig,
        keeper: int,
        group: NodeGroup,
        preloads: Preloads,
        log: NodeLog,
        tell: Callable[[messages.FromAgent], None],
    ) -> None:
        self._loop = loop
        self._config = config
        self._keeper = keeper
        self._group = group
        self._preloads = preloads
        self._log = log
        self._tell = tell
        self.starts = Starts(config.node, tell)
        self._pump = LogPump(self._log_grew, self._log_trouble)
        self._programs: Programs | None = None
        self._terminal: messages.Terminal | None = None
        self._logs = Path()
        self._ranks: dict[int, Rank] = {}
        self._held: dict[Channel, dict[str, Any]] = {}
        """Wrappers that an elastic launcher has started and that wait for their orders, with what it gave them."""
        self.launchers = launchers.Launchers(loop, log, self._pump, tell)
        self._forks: Forks | None = None
        self._kill_timer: int | None = None
        self._shared_memory: set[str] = set()
        self.stopping = False
        """Whether its processes are being ended, or have been."""
        self._terminated = False
        self._witness: Witness | None = None
        self._on_clean: list[Callable[[], None]] = []
        self._notices = Notices(loop, self._pids, self._warn)
        self._stopped_ranks = StoppedRanks(loop, self._pids, self._warn)
        self.clean = False
        """Whether it is proved that none of the run's processes is alive here, and none will be started."""

    # --- starting -----------------------------------------------------------------------------------

    def start(self, order: messages.Start, logs: Path) -> None:
        """Start the node's processes, or the launcher that starts them, in the current folder."""
        if self.stopping:
            return
        plan = order.plan
        self.starts.ordered()
        self._programs, self._terminal, self._logs = Programs(self._config, plan), order.terminal, logs
        self._ranks = {process.rank: Rank(process) for process in plan.processes}
        self._stopped_ranks.watch()
        self._witness = Witness()
        self._group.enter(*self._preloads.idle)
        if plan.preload is not None:
            self._start_forks(self._programs, plan.preload)
        elif plan.launcher is None:
            for rank in self._ranks.values():
                self._start_rank(rank)
        else:
            self._start_launcher(plan.launcher, self._programs)

    def _start_launcher(self, plan: LauncherPlan, programs: Programs) -> None:
        if plan.is_srun:
            programs.tell_ranks(plan, self._logs)
        if plan.argv:
            self.launchers.start(plan, programs, self._logs)

    def start_daemon(self, order: messages.StartDaemon) -> None:
        """Run what the launcher on another node needs here to start this node's processes."""
        launcher = self._launcher_plan
        if self.stopping or self._programs is None or launcher is None:
            self._tell(messages.DaemonEnded(order.origin, order.call, launchers.NOT_REACHED))
            return
        self.launchers.start_daemon(order, launcher, self._programs)

    def _start_rank(self, rank: Rank, given: Mapping[str, str] | None = None, cpus: tuple[int, ...] = ()) -> None:
        """Start a process as our own child, with what a launcher has `given` it, on `cpus` if none are planned."""
        programs = self._programs
        assert programs is not None
        argv = programs.argv(rank.plan)
        environ = programs.environ(rank.plan.environ) if given is None else given
        self._log.write(Kind.EXECUTION, f"starting rank {rank.plan.rank}: {argv}")
        output = self._open_log(rank)
        try:
            with self._bound_to(rank.plan.cpus or cpus):
                rank.pid = spawn(argv, environ, output, self._terminal_of(rank))
            self._came_up(rank)
            self._stopped_ranks.watch()
        except CannotStart as error:
            os.write(output, f"{error}\n".encode())
            self._ended(rank, error.exit_code, None)
            self._tell_stand_in(rank, error.exit_code << 8)
        finally:
            os.close(output)

    def _start_forks(self, programs: Programs, modules: tuple[str, ...]) -> None:
        from .forks import Forks  # Few jobs ask for it, and all wait for what is imported here.

        self._forks = Forks(
            self._loop,
            self._preloads,
            self._log,
            self._pump,
            self._tell,
            self._start_rank,
            self._open_log,
            self._forked,
            lambda: self.starts.preloaded(modules),
        )
        # One that has a terminal finds it when it starts, or not at all.
        at_terminal = [rank for rank in self._ranks.values() if self._terminal_of(rank)]
        for rank in at_terminal:
            self._start_rank(rank)
        self._forks.start(programs, modules, [rank for rank in self._ranks.values() if rank not in at_terminal])

    def _forked(self, rank: Rank, pid: int, status: int | None) -> None:
        """Take down a rank that was forked for us, and its end where that was quicker."""
        rank.pid = pid
        self._came_up(rank)
        self._stopped_ranks.watch()
        if status is not None:
            self._ended(rank, *processes.outcome(status), dumped_core=os.WCOREDUMP(status))
        elif self.stopping:
            self._send_late(rank)

    def _came_up(self, rank: Rank) -> None:
        """Tell that a process is there."""
        assert rank.pid is not None
        self.starts.started(rank.plan.rank, rank.pid)
        self._tell(messages.Started(rank.plan.rank, rank.pid, rank.given_rank))

    def _send_late(self, rank: Rank) -> None:
        """Send a process what all others were sent before it was there: its start was on the way when the stop came."""
        rank.send(signal.SIGKILL if self._kill_timer is None else signal.SIGTERM)

    @contextmanager
    def _bound_to(self, cpus: tuple[int, ...]) -> Iterator[None]:
        """Be on some processors for a moment: a child starts on its parent's."""
        usual = os.sched_getaffinity(0)
        try:
            if cpus:
                os.sched_setaffinity(0, cpus)
        except OSError as error:
            self._tell(
                messages.Note("warning", f"{self._config.node_id}: cannot bind to CPUs {cpus}: {error.strerror}")
            )
        try:
            yield
        finally:
            os.sched_setaffinity(0, usual)

    def _terminal_of(self, rank: Rank) -> str | None:
        terminal = self._terminal
        return terminal.path if terminal is not None and terminal.rank == rank.plan.rank else None

    def _open_log(self, rank: Rank) -> int:
        return self._pump.open(str(rank.plan.rank), self._logs / rank.plan.log)

    @property
    def _launcher_plan(self) -> LauncherPlan | None:
        return self._programs.plan.launcher if self._programs is not None else None

    @property
    def _is_srun(self) -> bool:
        return self._launcher_plan is not None and self._launcher_plan.is_srun

    @property
    def _tidy_limit(self) -> float:
        launcher = self._launcher_plan
        return _TIDY_LIMITS[launcher.kind] if launcher is not None else 0.0

    # --- rank wrappers ------------------------------------------------------------------------------

    def wrapper_called(self, channel: Channel, hello: dict[str, Any]) -> bool:
        """Give a wrapper its orders; False if there is nothing for it to do any more."""
        launcher, programs, given = self._launcher_plan, self._programs, hello.get("given")
        if launcher is None or programs is None or not isinstance(given, dict):
            return False
        rank = self._wanted(launcher, given)
        if rank is None:
            return False
        if launcher.is_elastic and self._config.asks:
            self._held[channel] = given
            self._tell(messages.LauncherAsks())
            return True
        return self._order_wrapper(channel, given, rank, launcher, programs)

    def let_start(self) -> None:
        """Give the wrappers that wait their orders."""
        held, self._held = self._held, {}
        launcher, programs = self._launcher_plan, self._programs
        for channel, given in held.items():
            rank = None if launcher is None else self._wanted(launcher, given)
            if rank is not None and launcher is not None and programs is not None:
                self._order_wrapper(channel, given, rank, launcher, programs)

    def end_one(self) -> None:
        """End one process: its launcher starts it again, and itself meets the others for that."""
        running = next((rank for rank in self._ranks.values() if rank.running), None)
        if running is not None and not self.stopping:
            self._log.write(Kind.EXECUTION, f"rank {running.plan.rank} is ended, so that the launchers meet again")
            running.send(signal.SIGKILL)

    def _order_wrapper(
        self, channel: Channel, given: dict[str, Any], rank: Rank, launcher: LauncherPlan, programs: Programs
    ) -> bool:
        rank.wrapper, rank.pid, rank.ended, rank.asked = channel, None, False, False
        rank.given_rank = number(given.get("RANK")) if launcher.is_elastic else None
        output = self._open_log(rank)
        order = {
            "argv": programs.argv(rank.plan),
            "environ": launched_variables(launcher, given, programs, rank.plan),
            "keeps": launcher.sets,
            "folder": os.getcwd(),
            "cpus": rank.plan.cpus,
            "terminal": self._terminal_of(rank),
            "isSupervised": launcher.kind is LauncherKind.MPIRUN,
        }
        try:
            channel.send(order, fds=(output,))
        except OSError:
            return False  # Its launcher has just killed it.
        finally:
            os.close(output)
        return True

    def stand_in_called(self, channel: Channel, hello: dict[str, Any]) -> bool:
        """Start the process that a task of Slurm's stands for; False if there is nothing for it to do any more."""
        launcher, programs, given, cpus = self._launcher_plan, self._programs, hello.get("given"), hello.get("cpus")
        if launcher is None or not launcher.is_srun or programs is None or not isinstance(given, dict):
            return False
        if not isinstance(cpus, list) or not all(isinstance(cpu, int) for cpu in cpus):
            return False
        rank = self._wanted(launcher, given)
        if rank is None:
            return False
        rank.wrapper, rank.pid, rank.ended, rank.asked = channel, None, False, False
        own = launched_variables(launcher, given, programs, rank.plan)
        self._start_rank(rank, {**kept_variables(launcher, given), **own}, tuple(cpus))
        return True

    def _wanted(self, launcher: LauncherPlan, given: dict[str, Any]) -> Rank | None:
        """Give the process that a launcher means, if it is still to be started."""
        rank = launched_rank(launcher, given, self._ranks)
        return None if self.stopping or rank is None or rank.running else rank

    def wrapper_said(self, channel: Channel, data: dict[str, Any]) -> None:
        """Take down what a wrapper reports of its process, and what a stand-in was sent."""
        rank = self._rank_of(channel)
        if rank is None:
            return
        match data:
            case {"type": "started", "pid": int(pid)}:
                rank.pid = pid
                self._came_up(rank)
                if self.stopping:
                    self._send_late(rank)
            case {"type": "asked", "signal": (signal.SIGUSR1 | signal.SIGUSR2) as number}:
                self._tell(messages.Noticed(signal.Signals(number).name))
            case {"type": "asked", "signal": int(number)}:
                # Its launcher ends all ranks when one fails; once we do that ourselves, they have our grace.
                if not self.stopping:
                    rank.send(signal.Signals(number))
            case {"type": "ended", "status": int(status)}:
                rank.asked = rank.asked or bool(data.get("asked"))
                self._ended(rank, *processes.outcome(status), dumped_core=os.WCOREDUMP(status))

    def wrapper_hung_up(self, channel: Channel) -> None:
        """End the process of a wrapper that went without a report; it is reaped as our orphan."""
        self._held.pop(channel, None)
        rank = self._rank_of(channel)
        if rank is None:
            return
        rank.wrapper = None
        if rank.running and rank.pid is not None:
            # Without its wrapper it still has the rest of its grace, if it is in one.
            if self._kill_timer is None:
                self._kill_abandoned(rank, rank.pid)
            self._loop.call_later(_LATE_REPORTS, lambda: self._end_unseen(rank))

    def _tell_stand_in(self, rank: Rank, status: int) -> None:
        if rank.wrapper is not None and self._is_srun:
            rank.wrapper.send({"status": status})

    def stand_in_hung_up(self, channel: Channel) -> None:
        """Take down that Slurm has ended a process's task; what becomes of the processes shows when srun ends of it."""
        rank = self._rank_of(channel)
        if rank is not None:
            rank.wrapper = None
            self._log.write(Kind.EXECUTION, f"Slurm has ended the task of rank {rank.plan.rank}")

    def _kill_abandoned(self, rank: Rank, pid: int) -> None:
        launcher = self._launcher_plan
        if launcher is not None and launcher.kind is LauncherKind.MPIRUN:
            # mpirun kills all wrappers when one rank has called MPI_Abort: their ends are its doing, and none's fault.
            self._remember_shared_memory()
            rank.send(signal.SIGKILL)
        else:
            processes.send_group(pid, signal.SIGKILL)

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
            self.launchers.reap(pid, status, late=self._any_running())
            if self._forks is not None:
                self._forks.reaped(pid, status)
            for rank in self._ranks.values():
                if rank.pid == pid:
                    self._ended(rank, *processes.outcome(status), dumped_core=os.WCOREDUMP(status))
                    self._tell_stand_in(rank, status)

    def _ended(self, rank: Rank, exit_code: int | None, signal_name: str | None, *, dumped_core: bool = False) -> None:
        if rank.ended:
            return
        at = time.monotonic()
        rank.ended = True
        seen = None
        if self._witness is not None and exit_code != 0 and not rank.asked:
            seen = self._witness.circumstances(rank.pid, dumped_core=dumped_core)
        self._tell(messages.Exited(rank.plan.rank, exit_code, signal_name, rank.asked, at, seen))
        self._log.write(Kind.EXECUTION, f"rank {rank.plan.rank} ended: {signal_name or f'exit code {exit_code}'}")
        if self.stopping and not self._any_running():
            self.end_launchers(self._tidy_limit)

    def _pids(self) -> dict[int, int]:
        """Give the pids of the ranks that run."""
        return {number: rank.pid for number, rank in self._ranks.items() if rank.running and rank.pid is not None}

    def _warn(self, text: str) -> None:
        self._tell(messages.Note("warning", f"{self._config.node_id}: {text}"))

    def _any_running(self) -> bool:
        return any(rank.running for rank in self._ranks.values())

    # --- stopping -----------------------------------------------------------------------------------

    def stop(self, grace: float) -> None:
        """End the processes: SIGTERM, `grace` seconds, SIGKILL; with no grace, SIGKILL at once."""
        self.stopping = True
        if self._forks is not None:
            self._forks.stop()
        self._forget_kill_timer()
        if not self._any_running():
            self.end_launchers(self._tidy_limit)
            return
        if grace <= 0:
            self._kill()
            return
        self._log.write(Kind.EXECUTION, f"stopping: SIGTERM, {grace:g} s, SIGKILL")
        self._kill_timer = self._loop.call_later(grace, self._kill)
        if self._terminated:
            return  # Only the time has changed; a second SIGTERM would disturb a process that is saving.
        self._terminated = True
        self._remember_shared_memory()
        self._send_all(signal.SIGTERM)
        # A stopped process would not see the SIGTERM before it goes on.
        self._send_all(signal.SIGCONT)

    def notify(self, order: messages.Notify) -> None:
        """Pass a notice on to each process, once and to nothing that it has started."""
        if self._programs is not None and not self.stopping:
            write_notice(self._programs.preemption_file, order)
            self._notices.pass_on(signal.Signals[order.signal])

    def when_clean(self, callback: Callable[[], None]) -> None:
        """Call back as soon as it is proved that nothing of the run is alive here."""
        if self.clean:
            callback()
        else:
            self._on_clean.append(callback)

    def end_launchers(self, patience: float) -> None:
        """After all ranks have ended: give wrappers and launchers that many seconds to go, then kill what is left."""
        self.stopping = True
        for rank in self._ranks.values():
            if rank.wrapper is not None:
                rank.wrapper.close()
        self._end_leftovers(patience)

    def _end_leftovers(self, patience: float) -> None:
        if self.launchers.running and patience > 0:
            self._loop.call_later(_SWEEP_INTERVAL, lambda: self._end_leftovers(patience - _SWEEP_INTERVAL))
        else:
            self._sweep()

    def end_logs(self, seconds: float) -> None:
        """Wait, in a thread that may, for the last lines; nothing will be started any more."""
        self._pump.wait_until_idle(seconds)
        self._pump.close()

    def wait_for_logs(self, seconds: float) -> bool:
        """Wait, in a thread that may, until all that was printed is in its file."""
        return self._pump.wait_until_idle(seconds)

    def _kill(self) -> None:
        self._forget_kill_timer()
        if self._any_running():
            self._log.write(Kind.EXECUTION, "killing what still runs")
            self._remember_shared_memory()
            self._send_all(signal.SIGKILL)
        self._sweep()

    def _sweep(self) -> None:
        """Kill whatever is left, launcher and setsid grandchildren included, until there is proof that nothing is."""
        if self.clean:
            return
        spared = self._forks.spared() if self._forks is not None else ()
        if not spared:
            self._preloads.end()
        living = processes.living_of_run(self._config.tag, os.getpid(), (self._keeper, *spared))
        living = living or self._group.others(*spared)
        if living:
            self._group.kill_others(*spared)
        for pid in living:
            processes.send_signal(pid, signal.SIGKILL)
        if living or self._any_running():
            self._loop.call_later(_SWEEP_INTERVAL, self._sweep)
            return
        self._forget_kill_timer()
        self._remove_shared_memory()
        self.clean = True
        for callback in self._on_clean:
            callback()

    def _remember_shared_memory(self) -> None:
        """Take down what MPI's ranks share in memory while they can be asked: those we kill cannot remove it."""
        launcher = self._launcher_plan
        if launcher is not None and launcher.kind is LauncherKind.MPIRUN:
            for rank in self._ranks.values():
                if rank.running and rank.pid is not None:
                    self._shared_memory |= processes.mapped_files(rank.pid, SHARED_MEMORY_NAMES)

    def _remove_shared_memory(self) -> None:
        for path in self._shared_memory:
            try:
                os.unlink(path)
            except OSError:
                pass  # Its owner has done so itself.

    def _send_all(self, number: signal.Signals) -> None:
        for rank in self._ranks.values():
            rank.send(number)

    def _forget_kill_timer(self) -> None:
        if self._kill_timer is not None:
            self._loop.cancel(self._kill_timer)
            self._kill_timer = None

    # --- logs; called from the pump's thread --------------------------------------------------------

    def _log_grew(self, name: str, size: int) -> None:
        if name != launchers.STREAM:
            self._loop.post(lambda: self._tell(messages.LogGrew(int(name), size)))

    def _log_trouble(self, name: str, what: str) -> None:
        who = "the launcher" if name == launchers.STREAM else f"rank {name}"
        note = messages.Note("warning", f"{who} on {self._config.node_id}: {what}")
        self._loop.post(lambda: self._tell(note))
