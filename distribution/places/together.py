"""One place out of several answers: what a person says wins, and systems have to agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from regiment.jobs.errors import UserError

from .explicit import HOW
from .place import Found, Place, Said, Taken, What
from .ports import FIRST_PORT, LAST_PORT, derived_port

_OF_SYSTEMS = (What.NODES, What.RANK, What.HOST)
"""What a system may say; the key is a person's to give, and a port can be found without a word."""


def put_together(found: Sequence[Found]) -> Place:
    """Give the place; `found` has the strongest first.

    Raises:
        UserError: something is missing, or two say different things.
    """
    answers = {what: _answers(what, found) for what in What}
    taken = {what: _taken(what, said) for what, said in answers.items() if said}
    _check_faults(taken, found)
    _check_master(taken, found)
    _check_all_there(taken, found)
    if What.PORT not in taken:
        taken[What.PORT] = _derived(taken[What.HOST].value, found)
    nodes, rank = int(taken[What.NODES].value), int(taken[What.RANK].value)
    if rank >= nodes:
        raise UserError(
            f"the node rank is {rank} ({taken[What.RANK].by}), but those of {nodes} nodes ({taken[What.NODES].by}) "
            f"end at {nodes - 1}; ranks begin at 0"
        )
    return Place(
        nodes,
        rank,
        taken[What.HOST].value,
        int(taken[What.PORT].value),
        taken[What.KEY].value,
        ", ".join(dict.fromkeys(taken[what].by for what in _OF_SYSTEMS)),
        tuple(taken[what] for what in What),
        (*_overridden(answers), *(f"not used: {item.fault}" for item in found if item.fault)),
    )


_Answers = list[tuple[Found, Said]]


def _answers(what: What, found: Sequence[Found]) -> _Answers:
    return [(item, said) for item in found if (said := item.of(what)) is not None]


def _taken(what: What, answers: _Answers) -> Taken:
    (who, first), *others = answers
    if who.is_person:
        return Taken(what, first.value, first.by, f"{who.system} win over all else", is_person=True)
    for other, said in others:
        if not _same(first, said):
            flag, variable = HOW[what]
            raise UserError(
                f"the {what.value} is {first.value} for {who.system} ({first.by}), but {said.value} for "
                f"{other.system} ({said.by}); say which it is with {variable} or {flag}"
            )
    names = dict.fromkeys(item.system for item, _ in answers)
    return Taken(what, first.value, first.by, " and ".join(names) + (" agree" if len(names) > 1 else " says so"))


def _overridden(answers: Mapping[What, _Answers]) -> list[str]:
    """Tell what was found and not used, as somebody had said something else."""
    return [
        f"{said.by} says {said.value}, which {given[0][1].by} overrides with {given[0][1].value}"
        for given in answers.values()
        for _, said in given[1:]
        if not _same(given[0][1], said)
    ]


def _same(one: Said, other: Said) -> bool:
    """Say whether two answers are the same; a host may be called by more or less of its full name."""
    if one.value == other.value:
        return True
    short, long = sorted((one.value.lower(), other.value.lower()), key=len)
    return one.what is What.HOST and (short == long or long.startswith(f"{short}."))


def _check_faults(taken: Mapping[What, Taken], found: Sequence[Found]) -> None:
    """Complain of what could not be read, unless a person has said all that it could have told."""
    faults = [item.fault for item in found if item.fault is not None]
    if faults and not all(what in taken and taken[what].is_person for what in _OF_SYSTEMS):
        raise UserError(
            f"{faults[0]}; or set REGIMENT_NODES, REGIMENT_NODE_RANK and REGIMENT_MASTER, which win over all else"
        )


def _check_master(taken: Mapping[What, Taken], found: Sequence[Found]) -> None:
    """See that node 0 is the one whose address a system gave: not where a person numbers the nodes otherwise."""
    rank, host = taken.get(What.RANK), taken.get(What.HOST)
    if rank is None or host is None or not rank.is_person or host.is_person:
        return
    theirs = next((said for item in found if not item.is_person and (said := item.of(What.RANK))), None)
    if theirs is not None and theirs.value != rank.value:
        raise UserError(
            f"{rank.by} makes this node {rank.value}, but {theirs.by} {theirs.value}; with ranks of your own set "
            "REGIMENT_MASTER (or --master) too, as node 0 may be another one"
        )


def _check_all_there(taken: Mapping[What, Taken], found: Sequence[Found]) -> None:
    missing = [what for what in (*_OF_SYSTEMS, What.KEY) if what not in taken]
    if not missing:
        return
    flags = " and ".join(f"{variable} (or {flag})" for flag, variable in (HOW[what] for what in missing))
    if not any(what in taken for what in _OF_SYSTEMS) and not any(item.advice for item in found):
        raise UserError(
            f"nothing here tells this node's place; set {flags}, or let one of the systems that docs/entrypoint.md "
            "names start the agent"
        )
    known = ", ".join(f"{what.value} {item.value} from {item.by}" for what, item in taken.items())
    advice = next((item.advice for item in found if item.advice), None) if missing != [What.KEY] else None
    raise UserError(
        f"this node's place is not complete: no {' and no '.join(what.value for what in missing)}"
        + (f" (found: {known})" if known else "")
        + f"; set {flags}"
        + (f"; {advice}" if advice else "")
    )


def _derived(host: str, found: Sequence[Found]) -> Taken:
    """Give a port that every node finds alike."""
    job = next((item for item in found if item.job), None)
    by = f"{job.system}'s job {job.job}" if job else "the master's address"
    why = f"nobody names one, so all nodes make it of this, between {FIRST_PORT} and {LAST_PORT}"
    return Taken(What.PORT, str(derived_port(job.job if job and job.job else host)), by, why)
