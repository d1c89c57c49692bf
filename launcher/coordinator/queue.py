"""The queue of the scheduler that a run's nodes come from, which whoever started the coordinator can speak to."""

from __future__ import annotations

from collections.abc import Callable

from regiment.distribution.requeue import Requeue
from regiment.jobs.dataclass import replace

from ..node import messages
from ..node.loop import Loop
from .recorder import Recorder

_LIMIT = 150.0
"""Seconds that an answer may take: there are two questions to a busy scheduler behind it."""


class Queue:
    """Asks that the run be queued again, once nothing of it is left but its coordinator."""

    def __init__(self, loop: Loop, recorder: Recorder) -> None:
        self._loop = loop
        self._recorder = recorder
        self._asked: tuple[Requeue, Callable[[bool], None]] | None = None

    def ask(self, again: Requeue, then: Callable[[bool], None]) -> None:
        """Ask; `then` is told whether the scheduler has the run again.

        The question has a number, for who takes the run up later is told all its events again.
        """
        scheduler = self._recorder.record.scheduler
        number = 0 if scheduler is None else scheduler.requeues + 1
        self._asked = (again, then)
        self._loop.call_later(_LIMIT, lambda: self.answer(messages.Requeued(refusal="nobody answers")))
        self._recorder.event({"event": "requeue", "number": number, "reason": again.reason, "nodes": again.without})

    def answer(self, message: messages.Requeued) -> None:
        """Write down what became of it."""
        if self._asked is None:
            return
        (again, then), self._asked = self._asked, None
        recorder = self._recorder
        scheduler = recorder.record.scheduler
        if message.refusal is not None or scheduler is None:
            recorder.note("warning", f"the run is not queued again: {message.refusal}")
            then(False)
            return
        excluded = (*scheduler.excluded, *message.excluded)
        scheduler = replace(scheduler, requeues=scheduler.requeues + 1, excluded=excluded)
        recorder.record = replace(recorder.record, scheduler=scheduler)
        without = f" without {', '.join(excluded)}" if excluded else ""
        recorder.note("warning", f"the run is queued again{without}: {again.reason}")
        then(True)
