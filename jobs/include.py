"""`file:PATH`: the content of another YAML file in the place of a value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import JobFileError, UserError
from .paths import INCLUDE, existing, has_kind
from .reading import Reader, Reading, Value
from .source import parse_job, read_text
from .tree import Scalar, Section, Source


def included(reader: Reader, reference: Callable[[str], Any] | None = None) -> Reader:
    """Make a reader that also takes `file:PATH` and reads what is in that file, whose paths start from its own folder.

    With `--no-paths` a file that is not there stays a reference, made from its absolute path; where there can be
    none, it is a fault all the same.
    """

    def read(value: Value, reading: Reading) -> Any:
        tree = value.tree
        if not (isinstance(tree, Scalar) and isinstance(tree.value, str) and tree.value.startswith(INCLUDE)):
            return reader(value, reading)
        path = existing(tree.value, value, reading, "file")
        if reference is not None and not has_kind(path, "file"):
            return reference(path)
        file = str(Path(value.place.file).parent / tree.value.removeprefix(INCLUDE))
        source = _parse(Path(path), file, reading.lenient)
        with reading.include(Path(path), file, source):
            if isinstance(source.tree, Section):
                return reading.read(reader, Value(source.tree, source.tree.place, value.key))
        return None

    pattern = {"type": "string", "pattern": f"^{INCLUDE}", "description": "the path of a file with the content"}
    return Reader(read, {"anyOf": [reader.schema, pattern]})


def _parse(path: Path, file: str, lenient: bool) -> Source:
    try:
        return parse_job(read_text(path, file), file, lenient)
    except JobFileError as error:
        raise UserError(error.faults[0].message) from None
