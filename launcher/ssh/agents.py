"""The packed agents that a host keeps in its cache: each version of Regiment leaves one there, and none stays for ever.

When one was last started is when its file was last changed: `bootstrap.py` and whoever runs for long see to that.
"""

from __future__ import annotations

import os
import time

from ..node.loop import Loop

DAY = 24 * 3600.0
UNUSED = 30 * DAY
"""Seconds without a start after which one is removed: whoever has a job a month finds his still there."""


def keep_used(loop: Loop, path: str) -> None:
    """Have it pass for one in use as long as this process lives, on whatever host that sees the same cache."""
    try:
        os.utime(path)
    except OSError:
        return  # Somebody has emptied the cache by hand, and what runs has read most of it.
    loop.call_later(DAY, lambda: keep_used(loop, path))


def tidy(path: str) -> None:
    """Remove the agents beside this one that nobody has started for long and nothing here was started from."""
    folder = os.path.dirname(path)
    now = time.time()
    try:
        with os.scandir(folder) as entries:
            old = [
                entry.path
                for entry in entries
                if entry.name.startswith("agent-")
                and entry.path != path
                and now - entry.stat(follow_symlinks=False).st_mtime > UNUSED
            ]
        in_use = _command_lines() if old else ()
        for candidate in old:
            if not any(os.fsencode(candidate) in words for words in in_use):
                os.unlink(candidate)
    except OSError:
        return  # What could not be removed now is the next one's to remove.


def _command_lines() -> list[list[bytes]]:
    """Give the words of every process's command line: keepers, agents and coordinators all have theirs in it."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    found.append(file.read().split(b"\0"))
            except OSError:
                continue  # It has just ended.
    return found
