"""The folder with a job's code, and the program in it that the command names."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .errors import UserError
from .ignore import read_ignore_rules

_PYTHON = re.compile(r"python3?(\.\d+)?")
_PLAIN_FLAGS = frozenset(("-u", "-B", "-O", "-OO", "-E", "-s", "-S", "-I", "-b", "-v", "-q"))
_FOR_THE_SHELL = frozenset("$`*?[]{}~!")


def check_script(command: str, code: Path, is_snapshot: bool) -> None:
    """Refuse a command of the plain form `python FILE.py ...` whose file its processes would not find.

    They run in the folder `code`, or in a copy of it, or with a copy of the one file `code`.
    """
    script = plain_script(command)
    if script is None or script.is_absolute():
        return
    path = os.path.normpath(script)
    if is_snapshot and _kind(code) == stat.S_IFREG:
        if path != code.name:
            raise UserError(f"'{script}' is not {code.name}, which is all of the code; name its folder in 'code'")
        return
    if is_snapshot and path.startswith(".."):
        raise UserError(f"'{script}' is outside the code folder {code}; name a 'code' folder that has it")
    if _kind(code / path) != stat.S_IFREG:
        raise UserError(f"there is no '{script}' in {code}; correct the command, or name the folder in 'code'")
    if is_snapshot:
        rules = read_ignore_rules(code)
        if rules.leaves_out(path, is_folder=False):
            raise UserError(f"'{script}' is left out of the snapshot of {code} by its {rules.file}; change that")


def plain_script(command: str) -> PurePosixPath | None:
    """Give the FILE of `python[3][.x] FILE.py ...`, or None for any command whose program is less certain."""
    first, *words = [word for word, _ in zip(_words(command), range(len(_PLAIN_FLAGS) + 2), strict=False)] or [""]
    if not _PYTHON.fullmatch(first):
        return None
    for word in words:
        if word in _PLAIN_FLAGS:
            continue
        is_plain = word.endswith(".py") and not word.startswith("-") and not _FOR_THE_SHELL & set(word)
        return PurePosixPath(word) if is_plain else None
    return None


def _words(command: str) -> Iterator[str]:
    """Give the words of a command's first line as a shell reads them, until one that is not understood."""
    lines = command.replace("\\\n", " ").strip().splitlines()
    lexer = shlex.shlex(lines[0] if lines else "", posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        yield from lexer
    except ValueError:  # a quote that is not closed: for the shell to say
        return


def _kind(path: Path) -> int:
    """Give what a path leads to as one of stat's S_IF*, or 0 for nothing and for what no file can be called."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except OSError:
        return 0
