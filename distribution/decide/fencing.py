"""Lost nodes that cannot be reached: what they run ends by itself, and nothing new is started before it has.

A node that is cut off runs on until its lease is over (`launcher/node/lease.py`), and the run knows when that is by its
own clock. Until then the next attempt is prepared and not started. An elastic run's launchers meet again by
themselves, also before anybody has noticed a loss: so what they start waits until each node that is not lost has said
something since, which one that is cut off cannot.
"""

from __future__ import annotations

from regiment.jobs.dataclass import replace
from regiment.jobs.record import ProcessStatus

from ..actions import Action, AskNode, MeetAgain
from ..events import LauncherAsks, NodeAnswered, NodeFenced
from ..state import Lease, NodeState, Phase, State
from .changes import Decision, forget_lease
from .stopping import settle
from .up import move_up


def node_fenced(state: State, event: NodeFenced, now: float) -> Decision:
    """Take down whether anything of the run may be alive on a lost node, and until when."""
    if event.is_clean:
        state = replace(state, unfenced=state.unfenced - {event.node})
    if event.ends_by is None or event.ends_by <= now or state.phase in (Phase.STARTING, Phase.PREPARING):
        return move_up(state, now)  # Nothing of this attempt has been started there.
    state = replace(state, leases=(*state.leases, Lease(event.node, event.ends_by)))
    state, actions = move_up(state, now)
    return state, actions + (_meet_again(state) if state.phase is Phase.RUNNING else ())


def _meet_again(state: State) -> tuple[Action, ...]:
    """Have the launchers meet without the lost node: no packet says to those who wait for one that it will not come."""
    running = (process.node for process in state.processes if process.status is ProcessStatus.RUNNING)
    return tuple(MeetAgain(node) for node in sorted(running)[:1])


def node_ended(state: State, node: int, now: float) -> Decision:
    """Take down that nothing of a lost node is alive, as it has said itself."""
    state = forget_lease(state, node)
    return settle(state, now) if state.phase is Phase.RELEASING else move_up(state, now)


def launcher_asks(state: State, event: LauncherAsks, now: float) -> Decision:
    """Let an elastic launcher start what it wants to, once no node is cut off that might run it as well."""
    if state.phase is not Phase.RUNNING:
        return state, ()
    state = replace(state, asking=state.asking | {event.node})
    if state.unanswered:
        return state, ()  # They are asked already, and so is everybody who takes part.
    others = frozenset(i for i, node in enumerate(state.nodes) if node is NodeState.PREPARED and i != event.node)
    state = replace(state, question=state.question + 1, unanswered=others)
    state, actions = move_up(state, now)
    return state, tuple(AskNode(node, state.question) for node in sorted(others)) + actions


def node_answered(state: State, event: NodeAnswered, now: float) -> Decision:
    """Take down that a node is not cut off."""
    if event.question != state.question or event.node not in state.unanswered:
        return state, ()
    return move_up(replace(state, unanswered=state.unanswered - {event.node}), now)
