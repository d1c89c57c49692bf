"""What node 0 tells of a run that is left to it: what is new in its folder since somebody was told last."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from regiment.jobs.dataclass import replace
from regiment.jobs.plain import to_plain
from regiment.jobs.workspace import RunFolder

from ..node.carrying import parts_of, pieces_of, text_of
from ..node.parts import PIECE, Form, Part
from ..runs import read_run
from .errands import Desk, Words
from .sorts import GROWING, RESULTS, REWRITTEN, State, own_files, state_of

Have = dict[str, State]
"""The files that the other side has, and what they are known by there."""


def tell_news(desk: Desk, words: Words) -> None:
    """Tell what the caller has not; with `all`, outputs too, once the run has ended.

    The record is read first: a run that has ended by then has all its files.
    """
    folder, have = desk.folder(words), words["have"]
    record = read_run(folder)
    is_all = bool(words["all"]) and record.is_over
    problems: list[str] = []
    parts = chain(_grown(folder.root, have), _results(folder, have, problems) if is_all else ())
    for number, part in enumerate(parts, 1):
        desk.say({"part": to_plain(replace(part, number=number))})
    for path, found in own_files(folder.root):
        if REWRITTEN.fullmatch(path) and have.get(path) != state_of(found):
            data = (folder.root / path).read_bytes()
            desk.say({"file": path, "data": text_of(data), "modified": found.st_mtime_ns})
    desk.say({"record": to_plain(record), "isAll": is_all, "problems": problems})


def _grown(root: Path, have: Have) -> Iterator[Part]:
    for path, found in own_files(root):
        if not GROWING.fullmatch(path) or not stat.S_ISREG(found.st_mode):
            continue
        begin, _ = have.get(path, (0, 0))
        if begin > found.st_size:
            yield Part(0, path, Form.GONE)  # Another one has its name.
            begin = 0
        with open(root / path, "rb") as file:
            file.seek(begin)
            for offset in range(0, found.st_size - begin, PIECE):
                data = file.read(min(PIECE, found.st_size - begin - offset))
                yield Part(0, path, Form.GROWN, offset, text_of(data))


def _results(folder: RunFolder, have: Have, problems: list[str]) -> Iterator[Part]:
    """Give what is in the folders of results and not there yet."""

    def unknown(path: str, source: str) -> Iterator[Part]:
        is_told_otherwise = GROWING.fullmatch(path) or REWRITTEN.fullmatch(path)
        if not is_told_otherwise and have.get(path) != state_of(Path(source).stat()):
            yield from pieces_of(path, source)

    for top in RESULTS:
        yield from parts_of(folder.root / top, folder.root, problems.append, unknown)
