"""The text of a job file, and of values on the command line, as trees.

Scalars are read as PyYAML's safe loader does (YAML 1.1) but keep their text; dates stay text.
"""

from __future__ import annotations

from pathlib import Path

from .errors import Fault, JobFileError
from .tree import ItemList, Place, Scalar, Section, Source
from .treebuilder import TreeBuilder

MAX_BYTES = 1_000_000
"""Longest job file, in bytes."""


def read_text(path: Path, file: str) -> str:
    """Read a job file that users know as `file`; one that cannot be text of a job is a JobFileError."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _refusal(file, None, f"cannot be read: {reason}; check the path") from None
    except ValueError:  # a NUL in the name
        raise _refusal(file, None, "is no file name; check the path") from None
    if len(content) > MAX_BYTES:
        raise _refusal(file, None, f"is larger than {MAX_BYTES // 1_000_000} MB; a job file holds settings, not data")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refusal(file, line, "a byte here is no UTF-8; save the file with the encoding UTF-8") from None


def parse_job(text: str, file: str, lenient: bool = False) -> Source:
    """Parse the text of a job file; the tree is a Section, or None where the faults left none.

    `lenient`: of a key given twice the last value counts, with a note.
    """
    builder = TreeBuilder(file, numbered=True, lenient=lenient)
    builder.run(text)
    root = builder.root
    if not isinstance(root, Section) and not builder.faults:
        if root is None or (isinstance(root, Scalar) and root.text == ""):
            builder.fault(Place(file, None), "the file is empty; 'regiment init' writes one to start from", "")
        else:
            kind = "a list" if isinstance(root, ItemList) else "a single value"
            builder.fault(root.place, f"expected keys with values, such as 'command: ...', found {kind}", "")
    return Source(root if isinstance(root, Section) else None, tuple(builder.faults), tuple(builder.notes))


def parse_value(text: str, file: str, key: str) -> Source:
    """Parse a value given on the command line for `key`; nothing in it has a line."""
    builder = TreeBuilder(file, numbered=False, key=key)
    builder.run(text)
    if builder.root is None and not builder.faults:
        builder.root = Scalar(Place(file, None), "", None)
    return Source(builder.root, tuple(builder.faults), tuple(builder.notes))


def _refusal(file: str, line: int | None, message: str) -> JobFileError:
    return JobFileError((Fault(file, line, "", message),))
