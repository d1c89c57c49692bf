"""The programs that start processes in the agent's place: torchrun or mpirun, and the daemons of another node's mpirun.

mpirun reaches the other nodes by a remote shell, which is ours: a small program that asks this node's agent,
which asks the coordinator, whose agent on the other node runs the line. No sshd is needed, and whatever is run
is a child of its node's agent.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regiment.distribution.plan import LauncherPlan
from regiment.jobs.dataclass import dataclass

from . import messages, processes
from .channel import Channel
from .loop import Loop
from .nodelog import Kind, NodeLog
from .programs import Programs
from .pump import LogPump
from .spawn import CannotStart, spawn

STREAM = "launcher"
"""The name among the log pump's streams of what launchers print; ranks go by their numbers."""
_LATE_REPORTS = 0.1
"""Seconds in which the last reports of a launcher's wrappers are read before its own end counts."""

NOT_REACHED = 255
"""What ssh ends with where it could not run anything."""


@dataclass(frozen=True)
class _Daemon:
    """What another node's launcher runs here."""

    origin: int
    call: int


class Launchers:
    """Starts and watches one node's."""

    def __init__(self, loop: Loop, log: NodeLog, pump: LogPump, tell: Callable[[messages.FromAgent], None]) -> None:
        self._loop = loop
        self._log = log
        self._pump = pump
        self._tell = tell
        self._launcher: int | None = None
        self._daemons: dict[int, _Daemon] = {}
        self._calls: dict[int, Channel] = {}
        self._numbers = itertools.count()

    @property
    def running(self) -> bool:
        """Say whether any of them has not ended."""
        return self._launcher is not None or bool(self._daemons)

    def start(self, plan: LauncherPlan, programs: Programs, logs: Path) -> None:
        """Start the node's launcher in the current folder."""
        argv = programs.launcher_argv(plan, logs)
        self._log.write(Kind.EXECUTION, f"starting {plan.called}: {shlex.join(argv)}")
        _write_remote_shell(programs)
        output = self._pump.open(STREAM, logs / plan.log if plan.log else self._log.path(Kind.EXECUTION))
        try:
            self._launcher = spawn(argv, programs.launcher_environ(plan), output)
        except CannotStart as error:
            os.write(output, f"{error}\n".encode())
            self._tell(messages.LauncherEnded(error.exit_code, None))
        finally:
            os.close(output)

    def start_daemon(self, order: messages.StartDaemon, plan: LauncherPlan, programs: Programs) -> None:
        """Run what another node's launcher wants run here."""
        self._log.write(Kind.EXECUTION, f"starting for node-{order.origin}'s {plan.kind.value}: {order.line}")
        _write_remote_shell(programs)
        output = self._pump.open(STREAM, self._log.path(Kind.EXECUTION))
        try:
            # As sshd would do it: the user's own shell may be any, and mpirun writes for the Bourne shell.
            # In an empty folder: before its daemon Open MPI runs a .profile of the folder it starts in.
            argv = ["/bin/sh", "-c", f"cd {shlex.quote(programs.temporary)} && {order.line}"]
            if plan.wants_host_name:
                argv[:0] = programs.host_name_argv
            pid = spawn(argv, programs.launcher_environ(plan), output)
            self._daemons[pid] = _Daemon(order.origin, order.call)
        except CannotStart as error:
            os.write(output, f"{error}\n".encode())
            self._tell(messages.DaemonEnded(order.origin, order.call, error.exit_code))
        finally:
            os.close(output)

    def reap(self, pid: int, status: int, *, late: bool) -> None:
        """Take down the end of one of ours; `late` where ranks that it started have not been reported ended."""
        if pid == self._launcher:
            self._launcher = None
            self._launcher_ended(*processes.outcome(status), late)
        elif pid in self._daemons:
            daemon = self._daemons.pop(pid)
            exit_code, name = processes.outcome(status)
            self._log.write(Kind.EXECUTION, f"what node-{daemon.origin} ran here ended: {name or exit_code}")
            shown = os.WTERMSIG(status) + 128 if exit_code is None else exit_code
            self._tell(messages.DaemonEnded(daemon.origin, daemon.call, shown, name))

    def _launcher_ended(self, exit_code: int | None, signal_name: str | None, late: bool) -> None:
        self._log.write(Kind.EXECUTION, f"the launcher ended: {signal_name or f'exit code {exit_code}'}")
        ended = messages.LauncherEnded(exit_code, signal_name)
        # What its wrappers had to say may still wait to be read, and comes first.
        self._loop.call_later(_LATE_REPORTS if late else 0.0, lambda: self._tell(ended))

    # --- remote shells ------------------------------------------------------------------------------

    def remote_shell_called(self, channel: Channel, data: dict[str, Any]) -> Callable[[], None] | None:
        """Pass a remote shell's wish on; gives what to do when it hangs up, or None if it made no sense."""
        host, line = data.get("host"), data.get("line")
        if not isinstance(host, str) or not isinstance(line, str):
            return None
        call = next(self._numbers)
        self._calls[call] = channel
        self._tell(messages.RemoteShell(call, host, line))
        return lambda: self._forget(call)

    def remote_shell_ended(self, message: messages.RemoteShellEnded) -> None:
        """Let a remote shell end as what it ran."""
        channel = self._calls.pop(message.call, None)
        if channel is not None:
            channel.send({"status": message.status})

    def _forget(self, call: int) -> None:
        self._calls.pop(call, None)


def _write_remote_shell(programs: Programs) -> None:
    """Write the program that launchers take for ssh, where none has yet."""
    if not os.path.exists(programs.remote_shell):
        text = f'#!/bin/sh\nexec {shlex.join(programs.remote_shell_argv)} "$@"\n'
        descriptor = os.open(programs.remote_shell, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
