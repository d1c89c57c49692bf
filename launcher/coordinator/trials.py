"""Which nodes reach each other, tried on real sockets while they prepare: every node with node 0, and that with each.

Not each with each: with many nodes that would be very many, and all meet on node 0 in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from regiment.distribution.addresses import Report, Trial, candidates, unreached
from regiment.jobs.placement import Placement

from ..node import messages

_MOST = 8
"""Addresses of a node that are tried."""


class Trials:
    """Has the nodes try each other once, before anything is started."""

    def __init__(self, tell: Callable[[int, messages.ToAgent], None]) -> None:
        self._tell = tell
        self._targets: dict[int, messages.Target] = {}
        """What is to be tried, by node; none where there is nobody to try it with."""
        self._awaited: set[int] = set()
        """Nodes that still try."""
        self._tries_all = False
        self._then: Callable[[], None] | None = None
        self._heard: list[Trial] = []
        self.done: tuple[Trial, ...] = ()
        """What has come of it, once all have tried."""

    def begin(self, placement: Placement, hellos: Mapping[int, messages.AgentHello]) -> None:
        """Have the nodes that are there try to reach node 0, and it them."""
        there = [node for node in placement.nodes if node.index in hellos]
        found = candidates([Report(node.address, hellos[node.index].interfaces) for node in there])
        for node, addresses in zip(there, found, strict=True):
            door = hellos[node.index].door
            if door is not None:
                self._targets[node.index] = messages.Target(node.index, door, addresses[:_MOST])
        self._order()

    def _order(self) -> None:
        first, others = self._targets.get(0), tuple(one for index, one in self._targets.items() if index)
        if first is None or not others:
            return
        self._awaited = {0, *(one.node for one in others)}
        self._tell(0, messages.TryAddresses(others, self._tries_all))
        for one in others:
            self._tell(one.node, messages.TryAddresses((first,), self._tries_all))

    def heard(self, index: int, reached: messages.Reached) -> None:
        """Take down what a node has found."""
        self._heard += [Trial(index, one.node, one.addresses) for one in reached.nodes]
        self.forget(index)

    def forget(self, index: int) -> None:
        """Wait for a node no more."""
        if index not in self._awaited:
            return
        self._awaited.discard(index)
        if self._awaited:
            return
        # In one order whoever was first, with those of node 0 before all: it is where all meet.
        self.done, self._heard = tuple(sorted(self._heard, key=lambda trial: (trial.target, trial.node))), []
        if not self._tries_all and self._has_a_choice():
            self._tries_all = True
            self._order()
        elif self._then is not None:
            then, self._then = self._then, None
            then()

    def _has_a_choice(self) -> bool:
        """Say whether somebody was not reached where he should be, and there are other addresses."""
        missed = any(self._targets[trial.target].addresses[0] not in trial.reached for trial in self.done)
        return missed and any(len(target.addresses) > 1 for target in self._targets.values())

    def when_done(self, then: Callable[[], None]) -> None:
        """Call back once nobody is waited for; at once where that is so."""
        if self._awaited:
            self._then = then
        else:
            then()

    def failures(self) -> tuple[Trial, ...]:
        """Give the trials in which a node has answered nowhere."""
        return unreached(self.done)

    def sentence(self, trial: Trial, hosts: Mapping[int, str]) -> str:
        """Say which node does not reach which, and what to do."""
        more = len(self.failures()) - 1
        others = f" (and {more} more such pairs)" if more else ""
        return (
            f"({hosts[trial.node]}) cannot reach node-{trial.target} ({hosts[trial.target]}) at "
            f"{' or '.join(self._targets[trial.target].addresses)}{others}; let connections between the nodes "
            "through, to all ports, or choose nodes that reach each other"
        )
