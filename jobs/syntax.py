"""What is wrong with a text that is no YAML, in words for a person who does not know how YAML is parsed."""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_DEPTH = 64
"""Deepest nesting of lists and mappings in a job file."""
TOO_DEEP = f"lists and mappings are nested deeper than {MAX_DEPTH}; make it flatter"

# What libyaml and PyYAML say, and what to tell the user instead; {line} is where the thing that was not closed begins.
_PROBLEMS: tuple[tuple[str, str], ...] = (
    (
        "mapping values are not allowed",
        "there is a ':' where no key can stand; put the value in quotes, or check the indentation",
    ),
    ("could not find expected ':'", "'{near}' is no 'key: value'; add the ':' or check the indentation"),
    ("found unexpected end of stream", "the quote that opens on line {line} is never closed; close it"),
    ("expected ',' or ']'", "the '[' on line {line} is not closed; add a ']' or a ','"),
    ("expected ',' or '}'", "the '{{' on line {line} is not closed; add a '}}' or a ','"),
    ("did not find expected key", "this does not fit what stands above it; check the indentation and the quotes"),
    ("expected <block end>", "this does not fit what stands above it; check the indentation and the quotes"),
    ("expected '-' indicator", "a list stands above, and this is no '- item' of it; check the indentation"),
    ("unknown escape character", "there is no such '\\' escape in double quotes; use single quotes or write '\\\\'"),
    ("Unicode character escape", "this '\\' escape names no character; correct it"),
    ("undefined tag handle", "tags ('!...') are not allowed in a job file; remove it"),
    ("alphabetic or numeric character", "a value cannot start with '*' or '&'; put it in quotes"),
    ("expected alphabetic or numeric", "a value cannot start with '*' or '&'; put it in quotes"),
    # libyaml reads ahead of what it has told us, and since PyYAML 6.0.4 stops by itself at 1,000.
    ("exceeded maximum nesting depth", TOO_DEEP),
    (
        "incompatible YAML document",
        "the file asks for a YAML version that there is no reader for; remove its %YAML line",
    ),
)
_SPOILED_START = "a value cannot start with '{character}'; put it in quotes"
_TAB = "a tab stands where YAML allows only spaces; indent with spaces"


def describe_syntax_error(error: yaml.YAMLError, text: str) -> tuple[int | None, str]:
    """Give the 1-based line of a syntax error, and a sentence about it."""
    start: Any = getattr(error, "context_mark", None) or getattr(error, "problem_mark", None)
    mark: Any = getattr(error, "problem_mark", None) or start
    if mark is None:
        return None, "this is no YAML; correct it"
    problem = str(getattr(error, "problem", None) or "")
    lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", text)  # what YAML calls lines
    line = mark.line
    if "cannot start any token" in problem:
        character = lines[line][mark.column : mark.column + 1] if line < len(lines) else ""
        return line + 1, _TAB if character == "\t" else _SPOILED_START.format(character=character)
    # The parser notices what is not closed only at the end of the file; the user wants to see where it begins.
    is_at_end = not any(rest.strip() for rest in lines[line:])
    if is_at_end or "scanning a simple key" in str(getattr(error, "context", "")):
        line = start.line
    near = lines[line].strip()[:40] if line < len(lines) else ""
    for words, sentence in _PROBLEMS:
        if words in problem:
            return line + 1, sentence.format(line=start.line + 1, near=near)
    return line + 1, f"this is no YAML ({problem}); correct it"
