"""`regiment init`: a ready job as the beginning of one's own."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

import regiment.jobs as jobs
from regiment.jobs.errors import UserError

from .output import answer, columns, say

_COLUMNS = {"name": "NAME", "description": "WHAT IT SHOWS"}
_JOB_FILE = "job.yml"


def init(options: argparse.Namespace) -> int:
    """Copy a ready job, or list what there is."""
    examples = _examples()
    if options.name is None or options.list:
        rows = [{"name": name, "description": _description(folder)} for name, folder in examples.items()]
        answer(options, rows, columns(rows, _COLUMNS))
        if options.output == "table":
            say("regiment: 'regiment init NAME' copies one of them into the folder NAME")
        return 0
    source = _chosen(options.name, examples)
    target = Path(options.folder if options.folder is not None else source.name)
    _copy(source, target)
    print(target)
    say(f"regiment: copied {source.name}; next: cd {shlex.quote(str(target))} && regiment run {_JOB_FILE}")
    return 0


def _examples() -> dict[str, Path]:
    """Give the folders of all ready jobs, which lie beside the code, by name."""
    folders = (Path(place, "examples") for place in jobs.__path__)
    found = (path.parent for folder in folders for path in folder.glob(f"*/{_JOB_FILE}"))
    return {folder.name: folder for folder in sorted(found)}


def _description(folder: Path) -> str:
    import yaml

    return str(yaml.safe_load((folder / _JOB_FILE).read_text("utf-8")).get("description", ""))


def _chosen(name: str, examples: dict[str, Path]) -> Path:
    if name not in examples:
        raise UserError(f"there is no ready job {name!r}; {_hint(name, list(examples))}")
    return examples[name]


def _hint(name: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, names, 1, 0.4)
    return f"did you mean {near[0]!r}? 'regiment init' lists them" if near else f"there are {', '.join(names)}"


def _copy(source: Path, target: Path) -> None:
    """Copy the folder's files; what is there already is never touched."""
    try:
        if target.is_dir() and any(target.iterdir()):
            raise UserError(f"{target} is there already, with files in it; name another folder: {_command(source)}")
        # The folder may be there, empty; nothing below it may, so nothing can be overwritten.
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.rglob("*")):
            if "__pycache__" in path.parts:
                continue
            place = target / path.relative_to(source)
            if path.is_dir():
                place.mkdir()
            else:
                with place.open("xb") as file:
                    file.write(path.read_bytes())
    except FileExistsError:
        raise UserError(f"{target} is there already and no folder; name another: {_command(source)}") from None
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename}: {error.strerror}; name another folder: {_command(source)}"
        ) from None


def _command(source: Path) -> str:
    return f"regiment init {source.name} FOLDER"
