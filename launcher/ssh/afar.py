"""A node of a run whose coordinator is on another host: it dials that, and stays when whoever called has gone."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from regiment.jobs.dataclass import dataclass
from regiment.jobs.errors import NodeError
from regiment.jobs.plain import from_plain

from ..join.dialing import Connection, dial
from ..join.relay import Relay
from .errands import Desk, Words
from .host import forget_call, leave_caller

_DIAL_LIMIT, _NO_WAY_LIMIT = 20.0, 2.0
"""Seconds that node 0 has to answer, for it listens already; fewer where no way leads to it."""
_RETURN_LIMIT = 30.0
"""Seconds in which a node that has lost its coordinator, and may come back, tries to find it again."""


@dataclass(frozen=True)
class Afar:
    """Where a node has to go."""

    rank: int
    host: str
    port: int
    key: str
    """The run's, in hexadecimal digits."""
    returns: bool
    """Whether the run can use the node again after it was lost."""

    @property
    def master(self) -> str:
        """Node 0, as a person writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def join(desk: Desk, words: Words) -> None:
    """Leave a node here that joins the run; says so when it has."""
    way = from_plain(Afar, words["way"])
    reading, writing = os.pipe2(os.O_CLOEXEC)
    sys.stdout.buffer.flush()
    if os.fork() == 0:
        status = 1
        try:
            leave_caller()
            os.close(reading)
            status = _be_a_node(desk.zip, way, writing)
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as answer:
        said = answer.read()
    desk.say(json.loads(said) if said else {"refusal": "its node ended at once"})


def _be_a_node(zip_path: Path, way: Afar, answer: int) -> int:
    forget_call()
    try:
        connection = dial(way, bytes.fromhex(way.key), _DIAL_LIMIT, _quiet, _NO_WAY_LIMIT)
    except NodeError as error:
        _tell(answer, {"refusal": str(error)})
        return 1
    _tell(answer, {"joined": True})
    return _stay(zip_path, way, connection)


def _stay(zip_path: Path, way: Afar, connection: Connection) -> int:
    """Be a node until the run has ended, or until its coordinator cannot be found any more."""
    while True:
        relay = Relay(f"the coordinator at {way.master}", connection.stream, connection.address, zip_path, None, _quiet)
        status = relay.run()
        if relay.has_heard_the_end or not way.returns:
            return status
        try:
            connection = dial(way, bytes.fromhex(way.key), _RETURN_LIMIT, _quiet)
        except NodeError:
            return status


def _tell(answer: int, words: dict[str, Any]) -> None:
    os.write(answer, json.dumps(words).encode())
    os.close(answer)


def _quiet(text: str) -> None:
    """Tell nobody: there is none here who could read it."""
