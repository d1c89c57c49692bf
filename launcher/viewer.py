"""Watches a run through its coordinator, shows it, and passes the user's Ctrl-C on."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from regiment.jobs.errors import ExitStatus, NodeError, UserError
from regiment.jobs.record import RunRecord, RunStatus, read_record
from regiment.jobs.workspace import RunFolder

from .liveness import as_it_is, is_dead, wait_for_death
from .node import messages, scratch
from .node.channel import Channel
from .node.loop import Loop
from .node.processes import reap_orphans
from .view import View

_REFRESH = 0.1
"""Seconds between two looks of the view at what is new."""
_HANG_UP_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL when the terminal has hung up."""
_SHOWN = {signal.SIGINT: "Ctrl-C"}
"""What a person did, where it was not a signal's name."""
_LAST_WORDS_LIMIT = 5.0
"""Seconds a coordinator that hung up may take to be dead."""


class Viewer:
    """One person's look at one run."""

    def __init__(
        self,
        folder: RunFolder,
        connection: socket.socket,
        view: View,
        loop: Loop | None = None,
        node_grace: float | None = None,
    ) -> None:
        """`node_grace` is what processes have where SIGTERM says that this very node is being taken away."""
        self._node_grace = node_grace
        self._loop = loop or Loop()
        self._folder = folder
        self._view = view
        self._channel = Channel(self._loop, connection, self._take, self._coordinator_left)
        self.on_event: Callable[[Mapping[str, Any]], None] = lambda event: None
        """Is told of every event, after it was shown."""
        self._ended: int | None = None
        self._interrupts = 0
        self._left = False
        self._signal: signal.Signals | None = None
        self._timer: int | None = None

    def watch(self) -> None:
        """Ask for everything from the first event on; a run's own viewer gets that unasked."""
        self.tell(messages.Watch(messages.PROTOCOL))

    def cancel(self, where: str) -> None:
        """Cancel the run, which is the person's own; `where` says with what. A second time, kill it."""
        self._interrupted(signal.SIGINT, where)()

    def hang_up(self) -> None:
        """End the run, for the terminal it belongs to is gone."""
        self._interrupted(signal.SIGHUP)()

    def tell(self, message: messages.FromViewer) -> None:
        """Say something to the run's coordinator."""
        self._channel.send(messages.pack(message))

    def run(self, *, owns_run: bool, on_term: Callable[[], None] | None = None) -> int:
        """Show the run until it has ended; gives the exit status.

        `owns_run` passes signals on to the run; a mere onlooker just goes. `on_term` is what to do on SIGTERM instead.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # As nohup wants it, and a shell for what it starts in the background.
            self._loop.on_signal(number, self._interrupted(number) if owns_run else self._leave(number))
        if on_term is not None:
            self._loop.on_signal(signal.SIGTERM, on_term)
        if os.getpid() == 1:
            # In a container of its own: whatever loses its parent there is left to us.
            self._loop.on_signal(signal.SIGCHLD, reap_orphans)
            reap_orphans()
        if owns_run:
            for number in (signal.SIGUSR1, signal.SIGUSR2):
                self._loop.on_signal(number, self._noticed(number))
        self._tick()
        try:
            self._loop.run()
        finally:
            # Who leaves on purpose does not wait for a reader that has stopped reading.
            self._view.close(wait=not self._left)
        if owns_run and self._ended is not None:
            self._see_coordinator_off()
        return self._exit_status()

    def _see_coordinator_off(self) -> None:
        """Wait a moment for the coordinator, which tidies up after its verdict: when we have gone, nothing is left."""
        try:
            record = read_record(self._folder.record)
        except UserError:
            return  # The folder was deleted under the run, or the disk is full; nothing else knows who it is.
        coordinator = record.coordinator
        # Where the disk was full from the start, the record still has us, who submitted the run, in its place.
        if coordinator is not None and coordinator.pid != os.getpid():
            wait_for_death(coordinator.owner, _LAST_WORDS_LIMIT)
            if coordinator.socket is not None and is_dead(coordinator.owner):
                # It was killed before it could, and may have had no node that does.
                scratch.remove_socket_of_dead(coordinator.socket)

    def _exit_status(self) -> int:
        # What the coordinator said counts, not the record: a full disk may have kept that from being written.
        if self._ended is not None and self._ended != ExitStatus.CANCELED:
            return self._ended  # It ended by itself before the signal could end it.
        if self._signal is not None:
            return 128 + self._signal
        return self._ended if self._ended is not None else self._status_of_lost_run()

    def _status_of_lost_run(self) -> int:
        self._see_coordinator_off()
        record = as_it_is(read_record(self._folder.record))
        if record.status is RunStatus.COMPLETED:
            return 0  # It was killed after it had written this, and before it could say so.
        error = NodeError(_lost_message(record))
        error.exit_status = ExitStatus(record.exit_status or ExitStatus.NODE_ERROR)
        raise error

    def _take(self, event: dict[str, Any]) -> None:
        if event.get("event") == "log":
            self._view.on_log(int(event["rank"]), int(event["size"]))
        else:
            self._view.on_event(event)
            self.on_event(event)
        if event.get("event") == "run_ended":
            self._ended = int(event["exitStatus"])
        self._go_on()

    def _tick(self) -> None:
        self._timer = None
        self._view.tick(time.time())
        self._go_on()

    def _go_on(self) -> None:
        """Let the view look again soon, unless it has shown all there is: then this process sleeps until more comes."""
        if self._view.done:
            self._loop.stop()
        elif self._timer is None and self._view.is_restless:
            self._timer = self._loop.call_later(_REFRESH, self._tick)

    def _coordinator_left(self) -> None:
        if self._ended is None:
            self._loop.stop()

    def _interrupted(self, number: signal.Signals, name: str | None = None) -> Callable[[], None]:
        def handle() -> None:
            if number is signal.SIGHUP and self._signal is signal.SIGHUP:
                return  # A window that closes says so twice, by a signal and by the end of what is typed.
            self._interrupts += 1
            self._signal = self._signal or number
            if self._interrupts > 2:
                self._give_up()
                return
            if number is signal.SIGTERM and self._node_grace is not None and self._interrupts == 1:
                self.tell(messages.Noticed(number.name, self._node_grace))
                return
            reason = f"cancelled by {name or _SHOWN.get(number, number.name)}"
            grace = _HANG_UP_GRACE if number is signal.SIGHUP else None
            self.tell(messages.StopRun(reason, self._interrupts > 1, grace, is_persons=number is signal.SIGINT))

        return handle

    def _noticed(self, number: signal.Signals) -> Callable[[], None]:
        return lambda: self.tell(messages.Noticed(number.name))

    def _give_up(self) -> None:
        """Kill a coordinator that does not answer; without it the agents end everything when their leases are over."""
        record = read_record(self._folder.record)
        if record.coordinator is not None and not is_dead(record.coordinator.owner):
            print("regiment: the coordinator does not answer and is killed; its nodes end the run", file=sys.stderr)
            os.kill(record.coordinator.pid, signal.SIGKILL)
        self._go()

    def _leave(self, number: signal.Signals) -> Callable[[], None]:
        def handle() -> None:
            self._signal = number
            self._go()

        return handle

    def _go(self) -> None:
        self._left = True
        self._loop.stop()


def _lost_message(record: RunRecord) -> str:
    message = record.error.message if record.error else "the coordinator hung up"
    return f"{message}; its nodes end what still runs, and 'regiment show {record.run_id}' has the record"
