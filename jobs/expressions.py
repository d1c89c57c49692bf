"""`${{inputs.x}}` and its like: found in a text, rewritten from the older spelling, replaced by values.

In a command a value is quoted for the place it stands in, so that the shell passes it on whole and executes nothing
of it. An expression may stand bare, in double or in single quotes, and within `$(...)`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from .errors import UserError

_EXPRESSION = re.compile(r"\$\{\{\s*([^{}]*?)\s*\}\}")
# Azure ML's own rule for the spelling of 2021, in its package azure-ai-ml: {inputs.x}, not {{inputs.x}}.
_SINGLE_BRACES = re.compile(r"(?<![{$])\{((?:inputs|outputs|search_space)\.[^{}]*)\}(?!\})")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")  # what no shell does anything with, wherever it stands
_WORD_STARTS = frozenset(" \t\n;&|()")
_CASE = re.compile(r"case\s")


def find_expressions(text: str) -> tuple[str, ...]:
    """Give the names that expressions in a text refer to, such as `inputs.x`, each once, in the order found."""
    return tuple(dict.fromkeys(match.group(1) for match in _EXPRESSION.finditer(text)))


def has_unclosed(text: str) -> bool:
    """Tell whether a `${{` stands somewhere that is no whole expression."""
    return "${{" in _EXPRESSION.sub("", text)


def rewrite_single_braces(text: str) -> str:
    """Turn `{inputs.x}`, as files of 2021 have it, into `${{inputs.x}}`."""
    return _SINGLE_BRACES.sub(r"${{\1}}", text)


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace every expression by its value as it is: for texts that no shell reads."""
    return _EXPRESSION.sub(lambda match: _value(match.group(1), values), text)


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Replace every expression in a shell command by its value, quoted for the place where it stands.

    Within backticks, `${...}`, `$((...))`, `$'...'` and here-documents a shell has no quoting that always holds:
    there a value must be plain (letters, digits and `_@%+=:,./-`), and any other is a UserError.
    """
    shell = _Shell(text)
    parts = []
    end = 0
    for match in _EXPRESSION.finditer(text):
        shell.advance(match.start())
        parts += [text[end : match.start()], shell.quote(_value(match.group(1), values), match.group())]
        end = match.end()
        shell.skip(end)
    return "".join([*parts, text[end:]])


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise UserError(f"there is no value for '${{{{{name}}}}}'; give the job an entry of that name")
    return values[name]


_BARE, _DOUBLE, _SINGLE, _COMMENT, _UNSURE = "bare", "double quotes", "single quotes", "a comment", "unsure"
# What opens something inside which no quoting is safe, and what ends it again.
_UNSAFE = {"`": "`", "$((": "))", "${": "}", "$'": "'", "<<": ""}


class _Shell:
    """Where in a shell's grammar a reader of a command stands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._is_escaped = False
        self._stack = [_BARE]
        self._endings: list[str] = []

    def advance(self, end: int) -> None:
        """Read on to a place."""
        while self._at < end:
            self._at += self._step()
        self._is_escaped = self._at > end  # the last thing read was a backslash and what it is for

    def skip(self, end: int) -> None:
        """Pass over an expression, whose value is quoted and changes nothing."""
        self._at = max(self._at, end)

    def quote(self, value: str, expression: str) -> str:
        """Write a value so that what stands around it takes it whole."""
        state = self._stack[-1]
        if self._is_escaped and state in (_BARE, _DOUBLE):
            state = _UNSURE
        if state == _BARE:
            return shlex.quote(value)
        if state == _SINGLE:
            return value.replace("'", "'\"'\"'")
        if state == _DOUBLE:
            return re.sub(r'([\\"$`])', r"\\\1", value)
        if state == _COMMENT:
            return " ".join(value.split())
        if _PLAIN.fullmatch(value):
            return value
        message = "stands where a shell cannot be given a value with blanks, quotes or other special characters"
        raise UserError(f"'{expression}' {message}, as '{value[:60]}' is; put it in double quotes and $(...)")

    def _step(self) -> int:
        """Read what stands here, and give its length."""
        rest = self._text[self._at : self._at + 3]
        state = self._stack[-1]
        if state == _SINGLE:
            self._pop_at(rest.startswith("'"))
            return 1
        if state == _COMMENT:
            self._pop_at(rest.startswith("\n"))
            return 1
        if rest.startswith("\\"):
            return 2
        if state == _UNSURE:
            return self._step_unsure(rest)
        return self._step_quotable(rest, state)

    def _step_unsure(self, rest: str) -> int:
        ending = self._endings[-1]
        if ending and rest.startswith(ending):
            self._stack.pop()
            self._endings.pop()
            return len(ending)
        if ending == "}" and rest.startswith("{"):
            self._open_unsure("}")
        return 1

    def _step_quotable(self, rest: str, state: str) -> int:
        """Read on where a value could be put: in the bare text or in double quotes."""
        for opening, ending in _UNSAFE.items():
            is_bare_only = opening in ("$'", "<<")
            if rest.startswith(opening) and not (is_bare_only and state == _DOUBLE) and rest != "<<<":
                self._open_unsure(ending)
                return len(opening)
        if rest == "<<<":
            return 3
        if rest.startswith('"'):
            if state == _DOUBLE:
                self._stack.pop()
            else:
                self._stack.append(_DOUBLE)
        elif rest.startswith("$("):
            self._stack.append(_BARE)
            return 2
        elif state == _BARE:
            self._step_bare(rest)
        return 1

    def _step_bare(self, rest: str) -> None:
        starts_word = self._at == 0 or self._text[self._at - 1] in _WORD_STARTS
        if rest.startswith("'"):
            self._stack.append(_SINGLE)
        elif rest.startswith("("):
            self._stack.append(_BARE)
        elif rest.startswith(")"):
            self._pop_at(len(self._stack) > 1)
        elif rest.startswith("#") and starts_word:
            self._stack.append(_COMMENT)
        elif starts_word and len(self._stack) > 1 and _CASE.match(self._text, self._at):
            self._open_unsure("")  # its patterns end in a ')' that closes nothing

    def _open_unsure(self, ending: str) -> None:
        self._stack.append(_UNSURE)
        self._endings.append(ending)

    def _pop_at(self, is_end: bool) -> None:
        if is_end:
            self._stack.pop()
