"""Commands that are plainly a start of Python: what a shell would make of the line, and what Python of the words.

Only what is read here exactly as bash and Python read it is taken; all else says why not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from regiment.jobs.dataclass import dataclass

_BARE = r"[A-Za-z0-9_@%+=:,./^-]"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = rf"\$(?:({_NAME})|\{{({_NAME})\}})"
_BLANK = re.compile(r"(?:\\\n)*[ \t](?:[ \t]|\\\n)*")
"""Between two words; where a line goes on after a backslash there has to be a blank as well, or it would join words."""
_PIECE = re.compile(rf"({_BARE}+)|'([^']*)'|{_VARIABLE}|\"((?:[^\"\\$`]|{_VARIABLE})*)\"")
_IN_QUOTES = re.compile(_VARIABLE)
_PLAIN_VALUE = re.compile(rf"{_BARE}+")
_SHELLS_OWN = frozenset(
    """
    _ RANDOM SRANDOM SECONDS LINENO UID EUID PPID PWD OLDPWD SHLVL SHELLOPTS IFS OPTIND OPTERR HISTCMD GROUPS DIRSTACK
    FUNCNAME PIPESTATUS EPOCHSECONDS EPOCHREALTIME HOSTTYPE MACHTYPE OSTYPE COLUMNS LINES
    """.split()
)
"""Variables that have values of the shell's own."""
_WORDS_OF_THE_SHELL = frozenset("exec command builtin env time if for while until case function select coproc".split())

_FLAGS = frozenset(("-u", "-B", "-O", "-OO"))
"""What may stand between Python and the program: nothing that keeps `site` or PYTHONPATH from being heeded."""


class NotPlain(Exception):
    """The command is not plainly a start of Python; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class PythonCall:
    """A start of Python."""

    words: tuple[str, ...]
    """Python itself, its options and what it is to run."""
    arguments: tuple[str, ...]
    """What the program finds in `sys.argv[1:]`."""
    script: str | None
    """The script; None for a module or a command."""
    is_module: bool = False
    """Whether it runs a module (`-m`)."""


def shell_words(line: str, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Give the words that bash makes of a line which is one simple command.

    `variables` are those that may be used in it. Raises NotPlain.
    """
    words: list[str] = []
    text = line.strip(" \t\n")
    at = 0
    while at < len(text):
        word, at = _word(text, at, variables)
        words.append(word)
        blank = _BLANK.match(text, at)
        if blank is None and at < len(text):
            raise NotPlain(f"its command has {text[at]!r} in it, which is left to a shell")
        at = blank.end() if blank else at
    if not words or "=" in words[0] or words[0] in _WORDS_OF_THE_SHELL:
        raise NotPlain("its command does more than to start Python")
    return tuple(words)


def _word(text: str, at: int, variables: Mapping[str, str]) -> tuple[str, int]:
    pieces: list[str] = []
    while piece := _PIECE.match(text, at):
        bare, single, name, braced, double = piece.group(1, 2, 3, 4, 5)
        if bare is not None or single is not None:
            pieces.append(bare or single or "")
        elif double is not None:
            pieces.append(_IN_QUOTES.sub(lambda found: _value(found[1] or found[2], variables), double))
        else:
            pieces.append(_value(name or braced, variables))
        at = piece.end()
    if not pieces:
        raise NotPlain(f"its command has {text[at]!r} in it, which is left to a shell")
    return "".join(pieces), at


def _value(name: str, variables: Mapping[str, str]) -> str:
    """Give a variable's value, if it is one word whether in quotes or not."""
    value = variables.get(name, "")
    if name in _SHELLS_OWN or name.startswith("BASH") or not _PLAIN_VALUE.fullmatch(value):
        raise NotPlain(f"its command has ${name} in it, which is left to a shell")
    return value


def python_call(words: Sequence[str]) -> PythonCall:
    """Take a command apart that starts Python, whose name is its first word; raises NotPlain."""
    rest = iter(enumerate(words))
    next(rest)
    for at, word in _options(rest):
        if word == "-m" or word == "-c":
            if at + 1 == len(words):
                break
            return PythonCall(tuple(words[: at + 2]), tuple(words[at + 2 :]), None, is_module=word == "-m")
        if not word.startswith("-"):
            return PythonCall(tuple(words[: at + 1]), tuple(words[at + 1 :]), word)
        raise NotPlain(f"it gives Python the option {word[:20]}")
    raise NotPlain("it gives Python nothing to run")


def _options(rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Pass over the options that change nothing here."""
    for at, word in rest:
        if word == "-W":
            next(rest, None)
        elif word not in _FLAGS:
            yield at, word
