"""The exception a process died of, read from the end of its log; nothing has to be put into the program for that.

Known are Python's tracebacks (chained ones, exception groups, one inside another's message, PyTorch's `[rank0]:` before
each line), its fatal errors with faulthandler's stack, and what C++ says of an exception that nobody caught.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from regiment.jobs.dataclass import dataclass, field, replace


@dataclass(frozen=True)
class LoggedException:
    """An exception as a log has it."""

    type: str
    """Its class as printed, for example `torch.OutOfMemoryError`; of a fatal error the words `Fatal Python error`."""
    message: str
    """The first line of what it says."""
    file: str | None = None
    """Where it was raised: the innermost frame that is the user's; the innermost of all where none is."""
    line: int | None = None
    function: str | None = None
    behind: tuple[LoggedException, ...] = ()
    """The exceptions it came of, the first one first; of a group its members."""

    def __str__(self) -> str:
        said = f"{self.type}: {self.message}" if self.message else self.type
        return f"{said} at {self.file}:{self.line}" if self.file is not None else said


_HEADER = re.compile(r"Traceback \(most recent call last\):$")
_GROUP_HEADER = re.compile(r"^\s*\+ Exception Group Traceback \(most recent call last\):$")
_MEMBER = re.compile(r"^\s*\+-[+-]*-+ \d+ -+$")
_BAR = re.compile(r"^\s+\| ?")
_FRAME = re.compile(r'^\s*File "(?P<file>.+)", line (?P<line>\d+)(?:, in (?P<function>.+))?$')
_FATAL_FRAME = re.compile(r'^\s+File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)$')
_RAISED = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:: ?(?P<message>.*))?$")
_NAMED_AS_ERROR = re.compile(r"(Error|Exception|Exit|Interrupt|Warning|Group)$")
_LINK = re.compile(
    r"^(The above exception was the direct cause of the following exception"
    r"|During handling of the above exception, another exception occurred):$"
)
_OF_RANK = re.compile(r"^\[rank\d+\]: ?")
_FATAL = re.compile(r"^Fatal Python error: (?P<message>.*)$")
_CURRENT_THREAD = re.compile(r"^(Current thread|Thread) 0x[0-9a-f]+ .*\(most recent call first\):$")
_TERMINATE = re.compile(
    r"^terminate called (?:after throwing an instance of '(?P<type>.+)'|without an active exception)"
)
_WHAT = re.compile(r"^\s*what\(\):\s*(?P<message>.*)$")
_LIBRARY = re.compile(r"/(site|dist)-packages/|/lib(64)?/python3?\.?\d*/|^<frozen |^<(?!stdin>|string>|console>)")
"""Where frames are that are not the user's."""
_LONGEST = 1000


@dataclass
class _Block:
    """One traceback while it is read."""

    is_group: bool = False
    is_member: bool = False
    """Whether it stands in a group's list, where it may have no frames and no header."""
    has_header: bool = True
    is_linked: bool = False
    """Whether the exception before it is said to be behind it."""
    frames: list[re.Match[str]] = field(default_factory=list)


def last_exception(lines: Sequence[str]) -> LoggedException | None:
    """Give the last exception that a log's last lines tell of, or None."""
    cleaned = [_OF_RANK.sub("", line) for line in lines]
    fatal_at = _last(cleaned, _FATAL)
    terminate_at = _last(cleaned, _TERMINATE)
    python = _Tracebacks()
    for index, line in enumerate(cleaned):
        python.read(index, line)
    if terminate_at is not None and terminate_at > python.at:
        thrown = _thrown(cleaned[terminate_at:])
        # Python's faulthandler says after it where in the program that was.
        return _placed(thrown, _stack(cleaned[fatal_at:]) if fatal_at is not None and fatal_at > terminate_at else [])
    if fatal_at is not None and fatal_at > python.at:
        found = _FATAL.match(cleaned[fatal_at])
        assert found is not None
        fatal = LoggedException("Fatal Python error", found["message"][:_LONGEST])
        return _placed(fatal, _stack(cleaned[fatal_at:]))
    return python.last


def _last(lines: Sequence[str], pattern: re.Pattern[str]) -> int | None:
    return next((index for index in range(len(lines) - 1, -1, -1) if pattern.match(lines[index])), None)


def _thrown(lines: Sequence[str]) -> LoggedException:
    """Read what C++ says when nobody caught an exception."""
    found = _TERMINATE.match(lines[0])
    assert found is not None
    what = next((match["message"] for match in map(_WHAT.match, lines[1:3]) if match), "")
    return LoggedException(found["type"] or "terminate called without an active exception", what[:_LONGEST])


def _stack(lines: Sequence[str]) -> list[re.Match[str]]:
    """Give the frames of the thread that faulthandler names as the current one, the innermost last."""
    start = next((i for i, line in enumerate(lines) if line.startswith("Current thread")), None)
    if start is None or not _CURRENT_THREAD.match(lines[start]):
        return []
    frames: list[re.Match[str]] = []
    for line in lines[start + 1 :]:
        found = _FATAL_FRAME.match(line)
        if found is None:
            break
        frames.append(found)
    return frames[::-1]


def _placed(exception: LoggedException, frames: Iterable[re.Match[str]]) -> LoggedException:
    """Put in where it was raised: in the innermost frame that is the user's."""
    known = list(frames)
    if not known:
        return exception
    own = [frame for frame in known if not _LIBRARY.search(frame["file"])]
    frame = (own or known)[-1]
    return replace(exception, file=frame["file"], line=int(frame["line"]), function=frame["function"])


# --- Python's tracebacks ----------------------------------------------------------------------------


class _Tracebacks:
    """Reads lines and keeps the last exception of Python's, with what is behind it."""

    def __init__(self) -> None:
        self.last: LoggedException | None = None
        self.at = -1
        """The index of the line that names it."""
        self._block: _Block | None = None
        self._group: LoggedException | None = None
        self._is_linked = False

    def read(self, index: int, line: str) -> None:
        """Take the next line."""
        has_bar = _BAR.match(line) is not None
        text = _BAR.sub("", line, count=1) if has_bar else line
        if not has_bar and not line.lstrip().startswith("+-"):
            self._group = None
        if _LINK.match(text.strip()):
            self._is_linked = True
        elif _GROUP_HEADER.match(line) or _HEADER.search(text):
            is_group = _GROUP_HEADER.match(line) is not None
            self._block = _Block(is_group, self._group is not None, is_linked=self._is_linked)
            self._is_linked = False
        elif _MEMBER.match(line):
            self._block = _Block(is_member=True)
        elif frame := _FRAME.match(text):
            self._block = self._block or _Block(has_header=False)
            self._block.frames.append(frame)
        elif self._block is not None and text and not text[0].isspace():
            self._raised(index, text, self._block)

    def _raised(self, index: int, text: str, block: _Block) -> None:
        """Read the line that ends a traceback; one without a header has to be named as an error, as SyntaxError is."""
        found = _RAISED.match(text)
        if found is None or not (block.has_header or _NAMED_AS_ERROR.search(found["type"])):
            if not block.has_header:
                self._block = None
            return
        raised = _placed(LoggedException(found["type"], (found["message"] or "").strip()[:_LONGEST]), block.frames)
        if block.is_member and self._group is not None:
            self._group = self.last = replace(self._group, behind=(*self._group.behind, raised))
        else:
            before = self.last if block.is_linked else None
            behind = () if before is None else (*before.behind, replace(before, behind=()))
            self.last = replace(raised, behind=behind)
            self._group = self.last if block.is_group else None
        self.at, self._block = index, None
