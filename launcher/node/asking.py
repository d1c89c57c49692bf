"""What processes of the job ask of the record: passed on to the coordinator, and its answers handed back."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from regiment.jobs.errors import ExitStatus

from . import messages
from .channel import MAX_MESSAGE, Channel, encode

ASK = "ask"
"""The first word of a connection from a process of the job."""


class Asking:
    """The open questions of one node's processes."""

    def __init__(self, tell: Callable[[messages.FromAgent], None]) -> None:
        self._tell = tell
        self._open: dict[int, Channel] = {}
        self._numbers = itertools.count()

    def called(self, channel: Channel, data: dict[str, Any]) -> Callable[[], None]:
        """Pass a question on; gives what to do when its asker hangs up."""
        call = next(self._numbers)
        self._open[call] = channel
        if data.get("protocol") == messages.PROTOCOL:
            self._pass_on(messages.JobAsks(call, data.get("request")))
        else:
            text = "the job's Python has another version of Regiment than the one that runs the job; "
            text += "install that one there, or none: then the running one is imported"
            self.answered(messages.JobAnswer(call, refusal=text, exit_status=int(ExitStatus.USER_ERROR)))
        return lambda: self._forget(call)

    def _pass_on(self, question: messages.JobAsks) -> None:
        # A message that is too long would end the connection to the coordinator, and with it the run.
        if len(encode(messages.pack(question))) <= MAX_MESSAGE:
            self._tell(question)
        else:
            text = f"that is more than the {MAX_MESSAGE >> 20} MB that can be asked at once; ask for it in parts"
            self.answered(messages.JobAnswer(question.call, refusal=text, exit_status=int(ExitStatus.USER_ERROR)))

    def answered(self, message: messages.JobAnswer) -> None:
        """Hand an answer back."""
        channel = self._open.pop(message.call, None)
        if channel is not None:
            channel.send(messages.pack(message))

    def abandon(self) -> None:
        """Tell all who still ask that there is nobody to answer any more."""
        text = "the run's coordinator is gone, and ends the run with it"
        for call in list(self._open):
            self.answered(messages.JobAnswer(call, refusal=text, exit_status=int(ExitStatus.NODE_ERROR)))

    def _forget(self, call: int) -> None:
        self._open.pop(call, None)
