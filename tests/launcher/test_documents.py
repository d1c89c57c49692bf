"""The documents name what there is: every command, every flag and every key, and nothing else."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from regiment.distribution.places.explicit import WORDS
from regiment.distribution.places.find import SYSTEMS
from regiment.distribution.places.ports import FIRST_PORT, LAST_PORT
from regiment.jobs.schema import schema_text
from regiment.launcher.cli.parser import make_parser

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "jobs/examples/README.md", *ROOT.glob("docs/*.md")]
)
COMMAND_LINE = (ROOT / "docs/command-line.md").read_text("utf-8")
JOB_FILE = (ROOT / "docs/job-file.md").read_text("utf-8")


def groups(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands below a parser, by name."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for name in groups(make_parser(None)):
        parser = groups(make_parser(name))[name]
        own = groups(parser)
        yield from ((f"{name} {action}", sub) for action, sub in own.items()) if own else [(name, parser)]


COMMANDS = dict(commands())


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section '{title}'"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables in a text, without their heads."""
    lines = re.split(r"^\|[-|]+\|\n", text, flags=re.MULTILINE)[1:]
    table = [line for part in lines for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def names(cell: str) -> set[str]:
    """The first words of what is written as code: a flag without its value."""
    return {span.split()[0] for span in code(cell)}


def documented_flags(command: str) -> set[str]:
    found = set()
    if command in ("run", "plan", "agent"):
        found |= {flag for row in rows(section(COMMAND_LINE, "Flags of `run` and `plan`")) for flag in names(row[0])}
    if command == "agent":
        found -= {"--detach", "--interactive", "--launch-with", "--hosts", "--hostfile"}
    for flags, of, *_ in rows(section(COMMAND_LINE, "Flags of the other commands")):
        if of == "all" or command in code(of):
            found |= names(flags)
    return found


def test_all_commands_are_documented() -> None:
    table = rows(COMMAND_LINE[: COMMAND_LINE.index("\n## ")])
    spans = [re.match(r"[a-z ]*[a-z]\b", span) for first, *_ in table for span in code(first)]
    assert {span[0] for span in spans if span} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_all_flags_of_a_command_are_documented(command: str) -> None:
    flags = {flag for action in COMMANDS[command]._actions for flag in action.option_strings}
    assert documented_flags(command) == flags


def test_the_flags_without_a_command_are_documented() -> None:
    flags = {flag for action in make_parser(None)._actions for flag in action.option_strings}
    assert flags == {"-h", "--help", "--version"}
    assert "`regiment --version`" in COMMAND_LINE


def test_all_keys_of_ours_in_a_job_file_are_documented() -> None:
    command_job = json.loads(schema_text())["anyOf"][0]
    table = JOB_FILE[JOB_FILE.index("| key under `regiment` |") : JOB_FILE.index("### Prefix")]
    keys = {key for first, *_ in rows(table) for key in code(first)}
    assert keys == set(command_job["properties"]["regiment"]["properties"])


def test_all_that_tells_a_node_its_place_is_documented_with_its_source() -> None:
    text = section((ROOT / "docs/entrypoint.md").read_text("utf-8"), "Where a place comes from")
    sources = {first.partition(" (")[0]: source for first, *_, source in rows(text)}
    assert sources.keys() - {"Kubernetes Indexed Job", "Kubernetes JobSet"} == SYSTEMS.keys() - {"Kubernetes"}
    assert all("](https://" in source for source in sources.values())
    assert all(f"`{variable}`" in text and flag in text for flag, variable, _ in WORDS.values())
    assert f"{FIRST_PORT} plus" in text and f"modulo\n  {LAST_PORT - FIRST_PORT + 1}" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_links_of_a_document_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        path, _, heading = target.partition("#")
        if "://" in path:
            continue
        place = (document.parent / path).resolve() if path else document
        assert place.exists(), f"{target}: there is no such file"
        assert not heading or heading in anchors(place), f"{target}: there is no such heading"


def anchors(document: Path) -> set[str]:
    """The headings of a document, as the addresses that Markdown's viewers make of them."""
    text = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
