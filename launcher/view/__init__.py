"""What a person sees of a run: live in a terminal, as plain lines anywhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TextIO

from .model import Event
from .plain import PlainView

__all__ = ["View", "choose_view"]


class View(Protocol):
    """A run's viewer; whoever reads the coordinator's messages calls it, from one thread.

    None of its methods but `close` waits for a slow terminal or pipe, so a signal can always be acted on.
    """

    done: bool
    """Whether the run has ended and its last line is out. Until then, after `run_ended`, go on with `tick`;
    or call `close`, which waits."""

    @property
    def is_restless(self) -> bool:
        """Whether `tick` is to be called although nothing happens: something is late, or time itself is shown."""

    def on_event(self, event: Event) -> None:
        """Take one event of the run, in order; one seen already or unknown is ignored."""

    def on_log(self, rank: int, size: int) -> None:
        """Take note that a rank's log has at least `size` bytes."""

    def tick(self, now: float) -> None:
        """Show what is new at Unix time `now`; call it about ten times a second."""

    def close(self, *, wait: bool = True) -> None:
        """Show what is left, `wait`ing for a slow pipe as long as it takes, and give the terminal back.

        Safe to call twice.
        """


def choose_view(
    stdout: TextIO,
    stderr: TextIO,
    quiet: bool,
    run_folder: Path,
    *,
    interruptible: bool = True,
    environ: Mapping[str, str] | None = None,
) -> View:
    """Give the live view where both streams are a terminal that can do it, else the plain one.

    `quiet` shows nothing but why a run failed. `interruptible` says whether Ctrl-C in this viewer stops the run,
    so whether to offer it.
    """
    term = (os.environ if environ is None else environ).get("TERM", "")
    capable = term not in ("", "dumb", "unknown")
    if quiet:
        return PlainView(stdout, stderr, run_folder, quiet=True, chosen=lambda process: False)
    if not capable or not stdout.isatty() or not stderr.isatty():
        return PlainView(stdout, stderr, run_folder, interruptible=interruptible)
    from .live import LiveView  # rich costs more to import than the rest of the command takes

    return LiveView(stderr, run_folder, interruptible=interruptible)
