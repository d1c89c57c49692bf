"""What a process logs of its run: numbers, lists and tables over time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from .handle import Handle
from .ledger import Metrics
from .marks import checked_mark, write_mark


class Logged(Handle):
    """The part of a run that takes metrics."""

    def log(self, name: str, value: object, description: str = "", step: float | None = None) -> None:
        """Log one value; further ones of the same name make a list.

        The value is written to a local file before the call returns, in some microseconds, and never lost.

        Args:
            name: The metric's name.
            value: A number or a text.
            description: What it is.
            step: Where it belongs on the horizontal axis.

        Raises:
            UserError: The value is none that can be logged.
        """
        self._metrics.log(name, value, description, step)

    def log_list(self, name: str, value: Sequence[object], description: str = "") -> None:
        """Log a list; further lists of the same name continue it."""
        self._metrics.log_list(name, value, description)

    def log_row(self, name: str, description: str | None = None, **kwargs: object) -> None:
        """Log one row of a table; the columns are the keyword arguments."""
        self._metrics.log_row(name, kwargs, description or "")

    def log_table(self, name: str, value: Mapping[str, object], description: str = "") -> None:
        """Log a table: a list for each column."""
        self._metrics.log_table(name, value, description)

    def mark(self, name: str) -> None:
        """Mark on the run's timeline (`regiment show RUN --timeline`) that this process has come so far.

        It costs one local write. The mark `first step` ends the phase of that name. A process may make 500 marks;
        later ones are left out.

        Args:
            name: What has been reached: one line of text.

        Raises:
            UserError: This process is none of the run's, or the name is no such line.
        """
        write_mark(os.environ, self._id, checked_mark(name))

    def flush(self, timeout_seconds: float = 300) -> None:
        """Do nothing: what was logged is written already."""

    @property
    def _metrics(self) -> Metrics:
        if self._writer is None:
            self._writer = self._workspace._ledger.metrics(self._id, self._its_folder)
        return self._writer
