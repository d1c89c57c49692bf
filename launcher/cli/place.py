"""This node's place among the nodes of a run, as `regiment agent` finds it and as `--explain` tells it."""

from __future__ import annotations

import argparse
import os

from regiment.distribution.places.find import Explanation, explain, find_place
from regiment.distribution.places.place import Found, Place
from regiment.jobs.errors import ExitStatus

from .output import answer, say

_LARGEST = 1_000_000
"""Bytes that are read of a file; those of the systems are much smaller."""


def place_of(options: argparse.Namespace) -> Place:
    """Find this node's place; says what was found and not used.

    Raises:
        UserError: it is not known, or not for sure.
    """
    place = find_place(os.environ, _flags(options), read_text)
    for note in place.notes:
        say(f"regiment: {note}", quiet=options.quiet)
    return place


def explain_place(options: argparse.Namespace) -> int:
    """Print what was found, what was taken of it and why; gives the exit status."""
    explanation = explain(os.environ, _flags(options), read_text)
    if options.output == "table" and options.query is None:
        print("\n".join(_lines(explanation)))
    else:
        answer(options, _plain(explanation))
    return int(ExitStatus.USER_ERROR if explanation.place is None else ExitStatus.COMPLETED)


def read_text(path: str) -> str | None:
    """Give a file's text, or None where there is none that can be read."""
    try:
        # Without waiting, as a named pipe would make us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read(_LARGEST).decode("utf-8", "replace")
        except OSError:
            return None


def _flags(options: argparse.Namespace) -> dict[str, str | None]:
    nodes = options.nodes
    return {
        "nodes": None if nodes is None else str(nodes[1]),
        "node_rank": options.node_rank,
        "master": options.master,
        "key_file": options.key_file,
    }


def _lines(explanation: Explanation) -> list[str]:
    lines = []
    for item in explanation.found:
        lines.append(f"{item.system}: {item.fault}" if item.fault else f"{item.system} {_verb(item)}")
        lines += [f"  {said.what.value} {said.value}, from {said.by}" for said in item.said]
    if not explanation.found:
        lines.append("Nothing was found: no flag, no variable, no system that is known.")
    place = explanation.place
    if place is None:
        return [*lines, f"No place: {explanation.error}"]
    lines.append(f"This is node rank {place.rank} of {place.nodes}; node 0 listens at {place.master}.")
    lines += [f"  {item.what.value} {item.value}, from {item.by}: {item.why}" for item in place.taken]
    return lines + [f"  {note}" for note in place.notes]


def _verb(item: Found) -> str:
    if not item.said:
        return f"says nothing of a place: {item.advice}"
    return "say:" if item.is_person else "says:"


def _plain(explanation: Explanation) -> dict[str, object]:
    place = explanation.place
    return {
        "place": None if place is None else _plain_place(place),
        "error": explanation.error,
        "found": [
            {
                "system": item.system,
                "says": [{"what": said.what.value, "value": said.value, "from": said.by} for said in item.said],
                "fault": item.fault,
            }
            for item in explanation.found
        ],
    }


def _plain_place(place: Place) -> dict[str, object]:
    return {
        "nodes": place.nodes,
        "rank": place.rank,
        "master": place.master,
        "keyFile": place.key_file,
        "taken": [
            {"what": item.what.value, "value": item.value, "from": item.by, "why": item.why} for item in place.taken
        ],
        "notes": list(place.notes),
    }
