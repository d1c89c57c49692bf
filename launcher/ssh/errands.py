"""What a host does for whoever calls it about a run that is left to the hosts: one errand after the other.

Words go both ways as JSON, one line each. The first host, the run's node 0, is given the run and is asked about it
later; the others are told where node 0 listens. Each errand is answered; what cannot be done is answered by a sentence.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from regiment.jobs.errors import RegimentError, UserError
from regiment.jobs.lock import try_lock
from regiment.jobs.plain import PlainError, from_plain
from regiment.jobs.requests import Request
from regiment.jobs.workspace import RunFolder, Workspace, is_name

from .bootstrap import MARK

Words = dict[str, Any]
_END_LIMIT, _LOOK = 20.0, 0.05
"""Seconds that a coordinator has to end after its run, and between two looks whether it has."""


class Desk:
    """Where errands are done."""

    def __init__(self, zip_path: Path) -> None:
        self.zip = zip_path
        self.kept = zip_path.parent
        """The folder of this user's that is kept from run to run."""

    def words(self) -> Iterator[Words]:
        """Give what the caller says, until he hangs up."""
        for line in sys.stdin.buffer:
            yield json.loads(line)

    def say(self, words: Words) -> None:
        """Tell the caller something."""
        sys.stdout.buffer.write(json.dumps(words, separators=(",", ":")).encode() + b"\n")

    def workspace(self, words: Words) -> Workspace:
        """Give the workspace that a run has here for itself."""
        token = str(words["token"])
        if not is_name(token):
            raise UserError(f"{token!r} is no token of a run")
        return Workspace(self.kept / "away" / token)

    def folder(self, words: Words) -> RunFolder:
        """Give the folder of a run that is here."""
        return self.workspace(words).existing_run(str(words["runId"]))


def main() -> None:
    """Do errands for as long as the caller has some."""
    os.write(1, b"\n" + MARK + b'{"isThere":true}\n')
    desk = Desk(Path(sys.argv[0]).absolute())
    for words in desk.words():
        try:
            _ERRANDS[words["errand"]](desk, words)
        except RegimentError as error:
            desk.say({"refusal": str(error)})
        except OSError as error:
            desk.say({"refusal": f"{error.filename or 'its disk'}: {error.strerror or error}"})
        sys.stdout.buffer.flush()


def _take(desk: Desk, words: Words) -> None:
    from .taking import take_up

    take_up(desk, words)


def _join(desk: Desk, words: Words) -> None:
    from .afar import join

    join(desk, words)


def _bring(desk: Desk, words: Words) -> None:
    from .telling import tell_news

    tell_news(desk, words)


def _ask(desk: Desk, words: Words) -> None:
    """Have the run's coordinator do what somebody asks of it."""
    from ..runs import ask

    try:
        request = cast(Request, from_plain(cast(Any, Request), words["request"]))
    except PlainError as error:
        raise UserError(f"it was asked for something unknown: {error}") from None
    ask(desk.folder(words), request)
    desk.say({"done": True})


def _forget(desk: Desk, words: Words) -> None:
    """Remove a run, all of which is elsewhere by now; its coordinator has ended, or is about to."""
    from ..node import scratch

    folder, deadline = desk.folder(words), time.monotonic() + _END_LIMIT
    while (lock := try_lock(folder.lock)) is None:
        if time.monotonic() > deadline:
            raise UserError("its coordinator does not end")
        time.sleep(_LOOK)
    with lock:
        scratch.remove(str(desk.workspace(words).root))
    desk.say({"done": True})


_ERRANDS: dict[str, Callable[[Desk, Words], None]] = {
    "take": _take,
    "join": _join,
    "bring": _bring,
    "ask": _ask,
    "forget": _forget,
}
