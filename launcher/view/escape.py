"""What a job wrote, made safe to show: a log can neither drive the terminal nor forge a line of ours.

The log files keep every byte; only what a person sees passes through here.
"""

from __future__ import annotations

import re

_DROPPED = re.compile(r"\x1b\[[0-9;:]*[mK]")
"""Colours (SGR) and "erase to the end of the line": common in honest logs, and harmless to leave out."""
_DROPPED_BYTES = re.compile(_DROPPED.pattern.encode("ascii"))
_KEPT = frozenset("\t \u00a0\u1680\u202f\u205f\u3000\u200c\u200d" + "".join(map(chr, range(0x2000, 0x200B))))
"""Tabs, the blanks of all scripts, and the joiners that emoji and some scripts are written with."""


def printable(data: bytes | str) -> str:
    r"""Give one line as text that is safe to print.

    Bytes that are not UTF-8, control characters (newlines too), bidirectional overrides and other invisible
    characters come out as `\xff` or `\u202e`; colour sequences are left out; tabs stay.
    """
    if isinstance(data, bytes):
        if b"\x1b" in data:
            data = _DROPPED_BYTES.sub(b"", data)
        text = data.decode("utf-8", "backslashreplace")
    else:
        text = _DROPPED.sub("", data) if "\x1b" in data else data
    # What is left of a sequence put together by the removal of another is escaped character by character.
    if text.isprintable() or text.replace("\t", " ").isprintable():
        return text
    return "".join(char if char in _KEPT or char.isprintable() else _escaped(char) for char in text)


def printable_lines(text: str) -> list[str]:
    """Give a text of several lines as lines that are safe to print."""
    return [printable(line.removesuffix("\r")) for line in text.split("\n")]


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
