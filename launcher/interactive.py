"""A run one of whose ranks has the person's terminal to itself while it runs; before and after, the run is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from regiment.jobs.workspace import RunFolder

from .node.loop import Loop
from .node.messages import Terminal, TerminalLog
from .submit import Submission
from .terminal import CANCEL_KEYS, Device, Keyboard, Relay
from .view.model import Event
from .view.plain import PlainView
from .viewer import Viewer

_CANCEL = f"{CANCEL_KEYS} cancels the run"


def run_interactively(start: Callable[[Terminal], Submission], rank: int, *, quiet: bool) -> tuple[RunFolder, int]:
    """Start a run with the person's terminal for one rank, and show it to its end; gives its folder and exit status.

    Raises UserError where standard input is no terminal.
    """
    keyboard = Keyboard(sys.stdin)
    try:
        device = Device(keyboard.fd)
        submission = start(Terminal(rank, device.path))
        if not quiet:
            print(f"regiment: this terminal is for rank {rank}, Ctrl-C too; {_CANCEL}", file=sys.stderr, flush=True)
        loop = Loop()
        relay = Relay(loop, keyboard, device, sys.stdout)
        folder = submission.folder
        shown = PlainView(sys.stdout, sys.stderr, folder.root, quiet=quiet, chosen=lambda process: False)
        view = InteractiveView(shown, relay, rank, folder.root)
        viewer = Viewer(folder, submission.connection, view, loop)
        relay.owner = view.viewer = viewer
        return folder, viewer.run(owns_run=True)
    finally:
        keyboard.close()


class InteractiveView:
    """The plain view, silent while the rank has the terminal; what it has to say then, it says afterwards.

    The ranks' lines are in their logs and not shown; the rank's own were seen.
    """

    def __init__(self, run: PlainView, relay: Relay, rank: int, run_folder: Path) -> None:
        self._run = run
        self._relay = relay
        self._rank = rank
        self._run_folder = run_folder
        self._held: list[Event] = []
        self._told = TerminalLog(0, complete=False)
        self.viewer: Viewer | None = None
        """Whom to tell how much is in the rank's log."""
        self.done = False

    @property
    def is_restless(self) -> bool:
        """Whether to look again soon: the others hear of the rank's log in turns."""
        return self._relay.is_on or self._run.is_restless or self.done != self._run.done

    def on_event(self, event: Event) -> None:
        """Take one event of the run, in order: the rank's start and end begin and end its session."""
        name, is_ours = event.get("event"), event.get("rank") == self._rank
        if name == "run_started":
            log = next(process["log"] for process in event["processes"] if process["rank"] == self._rank)
            self._relay.log.path = self._run_folder / log
        if name == "run_ended" or (name == "process_exited" and is_ours):
            self._end()
        if self._relay.is_on:
            self._held.append(event)
        else:
            self._run.on_event(event)
        if name == "process_started" and is_ours:
            self._relay.begin()

    def on_log(self, rank: int, size: int) -> None:
        """Ignore how the logs grow."""

    def tick(self, now: float) -> None:
        """Show what is new at Unix time `now`, and tell the others how the rank's log has grown."""
        if self._relay.is_on:
            self._tell(TerminalLog(self._relay.log.size, complete=False))
        else:
            self._run.tick(now)
            self.done = self._run.done

    def close(self, *, wait: bool = True) -> None:
        """Give the terminal back and show what is left."""
        self._end()
        self._run.close(wait=wait)
        self.done = True

    def _end(self) -> None:
        if not self._relay.is_on:
            return
        self._relay.end()
        self._tell(TerminalLog(self._relay.log.size, complete=True))
        held, self._held = self._held, []
        for event in held:
            self._run.on_event(event, late=True)
        if self._relay.log.trouble is not None:
            print(f"regiment: {self._relay.log.trouble}", file=sys.stderr)

    def _tell(self, message: TerminalLog) -> None:
        if self.viewer is not None and message != self._told:
            self._told = message
            self.viewer.tell(message)
