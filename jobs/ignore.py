"""What a snapshot leaves out: the `.amlignore` or the `.gitignore` of the code folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .dataclass import dataclass
from .errors import UserError

_FILES = (".amlignore", ".gitignore")


@dataclass(frozen=True)
class IgnoreRules:
    """Patterns in git's syntax; the last one that matches a path decides.

    Unlike git, and like Azure ML, a `!pattern` brings back a file of a folder that an earlier pattern left out.
    """

    file: str | None
    """Name of the file they are from, or None where the folder has neither."""
    _patterns: Any = None

    def leaves_out(self, path: str, is_folder: bool) -> bool:
        """Say whether a path, relative to the code folder and with slashes, is left out."""
        return self._patterns is not None and bool(self._patterns.match_file(f"{path}/" if is_folder else path))

    @property
    def bring_back(self) -> bool:
        """Say whether there are `!patterns`, so that a folder which is left out may hold files which are not."""
        return self._patterns is not None and any(pattern.include is False for pattern in self._patterns.patterns)


def read_ignore_rules(folder: Path) -> IgnoreRules:
    """Read the rules of a code folder. `.amlignore` wins, the other is then not looked at, nor are those below."""
    for name in _FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}; make it readable") from None
        return IgnoreRules(name, _parse(text))
    return IgnoreRules(None)


def _parse(text: str) -> Any:
    from pathspec import GitIgnoreSpec  # 20 ms that most commands need not spend

    patterns: list[Any] = []
    for line in text.splitlines():
        try:
            patterns += GitIgnoreSpec.from_lines([line]).patterns
        except ValueError:  # git passes over what is no pattern, too
            continue
    return GitIgnoreSpec(patterns)
