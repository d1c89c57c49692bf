"""What a person says of the place: flags first, then variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from regiment.jobs.errors import UserError

from . import values
from .place import Environ, Found, Said, What


def _key(text: str, by: str) -> tuple[Said, ...]:
    if "\0" in text:
        raise UserError(f"{by} must be the path of the file with the run's key")
    return (Said(What.KEY, text, by),)


WORDS: dict[str, tuple[str, str, Callable[[str, str], tuple[Said, ...]]]] = {
    "nodes": ("--nodes", "REGIMENT_NODES", lambda text, by: (values.count(text, by),)),
    "node_rank": ("--node-rank", "REGIMENT_NODE_RANK", lambda text, by: (values.rank(text, by),)),
    "master": ("--master", "REGIMENT_MASTER", values.endpoint),
    "key_file": ("--key-file", "REGIMENT_KEY_FILE", _key),
}
"""What can be said: its flag, its variable, and how it is read."""

HOW = {
    What.NODES: WORDS["nodes"][:2],
    What.RANK: WORDS["node_rank"][:2],
    What.HOST: WORDS["master"][:2],
    What.PORT: WORDS["master"][:2],
    What.KEY: WORDS["key_file"][:2],
}
"""The flag and the variable that say a part of the place."""


def explicit(environ: Environ, flags: Mapping[str, str | None]) -> tuple[Found, ...]:
    """Give what flags say, and what variables say; `flags` has their texts by the names in the table above."""
    by_flag: list[Said] = []
    by_variable: list[Said] = []
    for name, (flag, variable, parse) in WORDS.items():
        text = flags.get(name)
        if text is not None:
            by_flag += parse(text, flag)
        if environ.get(variable):
            by_variable += parse(environ[variable], variable)
    return Found("flags", tuple(by_flag), is_person=True), Found("variables", tuple(by_variable), is_person=True)
