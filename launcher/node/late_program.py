"""Gives a Python that was started for no program yet the program it is to run, once it has been forked.

A copy of this file lies beside that of `preload.py` where a process imports for the warm pool. Such a Python is started
with a name that no file has. Python reads the name again after `site` has been imported, to open the file; until then a
fork overwrites it in place, wherever memory holds it (in `PyConfig`, https://docs.python.org/3/c-api/init_config.html,
whose layout differs from version to version and need not be known for this). Then Python goes on by itself, and what
it runs is the program, with no frame of ours. Whether that works with this very Python is tried out beforehand.

Like `preload.py` it uses only modules that every Python has loaded by now.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # As typing's, which is not loaded by now.
if TYPE_CHECKING:
    from typing import Any

_HERE = os.path.dirname(__file__)
_NAME = sys.orig_argv[-1]
"""What stands for the program; so long that most paths have room in its place."""
_WIDE = "utf-32-le" if sys.byteorder == "little" else "utf-32-be"
"""How C has it: as `wchar_t`, which has 4 bytes on Linux."""
_KEY = _NAME[:16].encode(_WIDE)
"""The beginning is looked for, so that the search doesn't find itself."""
_LARGEST = 64 * 1024 * 1024
"""Bytes of a region of memory that is looked through; the names were written before anything large was."""
_ARG_START = 45
"""Where /proc/PID/stat says where the arguments lie, counted from behind the program's name (proc_pid_stat(5))."""
_TRIAL = """\
import os, sys
os.write(1, repr((__file__, sys.argv, sys.path[0], os.environ["REGIMENT_TRIAL"])).encode())
"""


class _Places:
    """Where memory holds the name."""

    def __init__(self) -> None:
        folder = os.getcwd().rstrip("/") + "/"
        self._before = len(folder.encode(_WIDE))
        self._named: list[int] = []
        """As it was given."""
        self._absolute: list[int] = []
        """As a path that begins with the current folder; where that path begins."""
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            regions = [line.split(None, 5)[:2] for line in maps]
        for span, rights in regions:
            begin, end = (int(word, 16) for word in span.split("-"))
            if rights.startswith("rw") and end - begin <= _LARGEST:
                self._look_through(begin, _read(begin, end - begin), folder.encode(_WIDE))

    def _look_through(self, begin: int, data: bytes, folder: bytes) -> None:
        at = data.find(_KEY)
        while at >= 0:
            if data[at : at + 4 * len(_NAME)].decode(_WIDE, "replace") == _NAME:
                if data[max(0, at - len(folder)) : at] == folder:
                    self._absolute.append(begin + at - len(folder))
                else:
                    self._named.append(begin + at)
            at = data.find(_KEY, at + 4)

    def overwrite(self, script: str) -> None:
        """Put a script's path there, in the current folder."""
        # What Python makes of a path is not normalised, but for this (`_Py_abspath`).
        absolute = os.path.join(os.getcwd(), script[2:] if script.startswith("./") else script)
        for place in self._absolute:
            _replace(place, self._before, absolute)
        for place in self._named:
            _replace(place, 0, script)


def _read(place: int, size: int) -> bytes:
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        try:
            memory.seek(place)
            return memory.read(size) or b""
        except (OSError, OverflowError):
            return b""  # The kernel's own.


def _write(place: int, data: bytes) -> None:
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(place)
        memory.write(data)


def _replace(place: int, before: int, text: str) -> None:
    """Write a text where the name still is; memory that was free by then may have got another use since."""
    if _read(place + before, 4 * len(_NAME)).decode(_WIDE, "replace") == _NAME:
        _write(place, f"{text}\0".encode(_WIDE, "surrogateescape"))


_places = _Places()


def become(program: dict[str, Any]) -> None:
    """Be what its command would have started, in its folder; what is left to do is Python's."""
    script = program["words"][-1]
    os.chdir(program["folder"])
    _places.overwrite(script)
    sys.argv[:] = [script, *program["arguments"]]
    sys.orig_argv[:] = [*program["words"], *program["arguments"]]
    sys.executable = program["executable"]
    # The job's own `sitecustomize` is that of its run.
    sys.path[:] = [program["start"] if entry == program["oldStart"] else entry for entry in sys.path]
    sys.path_importer_cache.pop(program["oldStart"], None)
    _retitle(sys.orig_argv)


def _retitle(words: list[str]) -> None:
    """Let the kernel show the command that was given; what doesn't fit is cut off."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    begin, end = (int(field) for field in fields[_ARG_START : _ARG_START + 2])
    title = b"".join(os.fsencode(word) + b"\0" for word in words)
    _write(begin, title[: end - begin - 1].ljust(end - begin, b"\0"))


def give_openmp_its_threads(count: int) -> None:
    """Have OpenMP start as many threads as it would have been told to when it was loaded."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        paths = {f"/{line.rstrip().partition('/')[2]}" for line in file if "libgomp" in line or "libiomp" in line}
    for path in paths if "ctypes" in sys.modules else ():
        try:
            sys.modules["ctypes"].CDLL(path).omp_set_num_threads(count)
        except (OSError, AttributeError):
            continue  # It is gone by now, or only has such a name.


def try_out() -> str | None:
    """Have a fork run a program: gives None in that fork, "" if it went as it must, else why it did not."""
    script, value = os.path.join(_HERE, "trial.py"), f"{os.getpid()}"
    with open(script, "w", encoding="utf-8") as file:
        file.write(_TRIAL)
    output, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(theirs, 1)
        start = sys.path[0]
        become(
            {
                "folder": _HERE,
                "words": [sys.orig_argv[0], "./trial.py"],
                "arguments": ["one", "two"],
                "executable": sys.executable,
                "start": start,
                "oldStart": start,
            }
        )
        os.environ["REGIMENT_TRIAL"] = value
        return None
    os.close(theirs)
    said = b""
    while data := os.read(output, 4096):
        said += data
    os.close(output)
    os.waitpid(pid, 0)
    expected = repr((script, ["./trial.py", "one", "two"], _HERE, value))
    return "" if said.decode("utf-8", "replace") == expected else "this Python cannot be given its program later"
