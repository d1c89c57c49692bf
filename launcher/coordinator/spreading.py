"""The snapshot's way to nodes that do not see the run folder: one gets it from here, the others from each other.

Each gets it from the one that `distribution/spreading.py` says, when that has it all, and what does not come that way
comes from here after all. So a node that is lost, or a network in which nodes cannot reach each other, costs time only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from regiment.distribution.spreading import giver_of, is_worth_it
from regiment.jobs.words import counted

from ..node.passing import Credentials, GetFrom, Give, Giving
from .order import Order


class Member(Protocol):
    """A node that takes part."""

    @property
    def name(self) -> str:
        """Its name, for people."""

    @property
    def address(self) -> str:
        """Where it listens."""

    @property
    def rank(self) -> int:
        """The node rank."""

    def say(self, message: Give | GetFrom, /) -> None:
        """Tell its agent."""

    def get_from_here(self) -> None:
        """Send it what it waits for."""


class _Place:
    """A node's place in the tree."""

    def __init__(self, member: Member, giver: int | None) -> None:
        self.member = member
        self.giver = giver
        self.has_all = False
        self.is_told = False
        """Whether it has been told to give."""
        self.port: int | None = None
        """Where it gives; 0 where it cannot."""
        self.waiting: list[_Place] = []
        """Those that want it from this one."""


class Spreading:
    """One run's."""

    def __init__(self, credentials: Credentials | None, count: int, note: Callable[[str], None]) -> None:
        """Let all come from here where there are no credentials; `note` hears why what was tried does not work."""
        self._credentials = credentials
        self._count = count
        self._note = note
        self._places: list[_Place] = []
        self._of: dict[Member, _Place] = {}

    def takes(self, member: Member, size: int) -> bool:
        """Take a node, if so many bytes go through nodes; says whether what it lacks is to come from another one."""
        if self._credentials is None or not is_worth_it(self._count, size):
            return False
        giver = giver_of(len(self._places))
        self._of[member] = place = _Place(member, giver)
        self._places.append(place)
        return giver is not None

    def wants(self, member: Member) -> None:
        """Let a node get what it lacks, as soon as the other one has it."""
        place = self._of[member]
        giver = None if place.giver is None else self._places[place.giver]
        if giver is None or self._credentials is None or giver.port == 0:
            member.get_from_here()
            return
        giver.waiting.append(place)
        self._serve(giver)

    def has_all(self, member: Member) -> None:
        """Take down that a node has the snapshot."""
        place = self._of.get(member)
        if place is not None:
            place.has_all = True
            self._serve(place)

    def gives(self, member: Member, message: Giving) -> None:
        """Take down where a node gives what it has."""
        place = self._of.get(member)
        if place is None:
            return
        place.port = message.port
        if not message.port:
            self._fails(f"{member.name} cannot listen for the others: {message.problem}")
        self._serve(place)

    def failed(self, member: Member, reason: str, files: int) -> None:
        """Take down that a node could not get so many files from the other one."""
        self._fails(f"{member.name} could not get {counted(files, 'file')} of the code from another node: {reason}")

    def lost(self, member: Member) -> None:
        """Take down that a node is of no use any more."""
        place = self._of.get(member)
        if place is not None:
            place.port = 0
            self._serve(place)

    def _serve(self, giver: _Place) -> None:
        if self._credentials is None or giver.port == 0:
            self._send_to(giver)
        elif giver.waiting and giver.has_all and giver.port is None and not giver.is_told:
            giver.is_told = True
            giver.member.say(Give(self._credentials))
        elif giver.has_all and giver.port is not None:
            waiting, giver.waiting = giver.waiting, []
            for place in waiting:
                rank, key = place.member.rank, self._credentials.key
                place.member.say(GetFrom(giver.member.name, giver.member.address, giver.port, rank, key))

    def _send_to(self, giver: _Place) -> None:
        waiting, giver.waiting = giver.waiting, []
        for place in waiting:
            place.member.get_from_here()

    def _fails(self, text: str) -> None:
        """Let all get the rest from here: what one cannot do, the others most likely cannot either."""
        if self._credentials is None:
            return  # It has been said.
        self._credentials = None
        self._note(f"the code goes to all nodes from here, which takes longer; {text}")
        for giver in self._places:
            self._send_to(giver)


def credentials_of(order: Order) -> Credentials | None:
    """Give by what the run's nodes know each other; None where there is nothing."""
    if order.network is not None:
        return Credentials(order.network.key, order.network.certificate, order.network.private_key)
    return None if order.hosts is None else order.hosts.credentials
