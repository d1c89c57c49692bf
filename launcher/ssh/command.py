"""What is run to get onto a host: the system's OpenSSH, with the user's own configuration."""

from __future__ import annotations

import functools
import hashlib
import shlex
import zlib
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from zipimport import zipimporter

from regiment.jobs.dataclass import dataclass

from . import bootstrap

SSH = "REGIMENT_SSH"
"""The variable with another command than `ssh`, with options of its own if need be."""
_OPTIONS = (
    # Nobody is there who could be asked.
    "-oBatchMode=yes",
    # Its phases and what goes wrong are told from what it says.
    "-v",
    "-T",
    "-x",
    # Meant for the user's own sessions; one port cannot be forwarded by many connections.
    "-oClearAllForwardings=yes",
    "-oRemoteCommand=none",
    # What is dead is found sooner, and by both ends; this is for what nobody needs any more.
    "-oServerAliveInterval=15",
)
_AGAIN = ("-oControlPath=none",)
"""Options for a new connection where one has broken: a shared one may be as dead as what it carried."""
_FIRST_WORDS = (
    "import sys;sys.version_info>=(3,10) or "
    'sys.exit("regiment: Python "+sys.version.split()[0]+" is too old");exec(sys.stdin.buffer.read({size}))'
)
"""What fits into a command line, for any shell and any Python: it reads the rest, and that only."""


_LEVEL = 1
"""Of compression: each further one takes longer than it saves."""


@dataclass(frozen=True)
class Payload:
    """The packed agent as it is sent to hosts."""

    first: bytes
    """What is sent before anything is heard."""
    contents: bytes

    @functools.cached_property
    def compressed(self) -> bytes:
        """What a host is sent that lacks it, half of it; where all have it, nobody needs to compress it."""
        data = zlib.compress(self.contents, _LEVEL)
        return len(data).to_bytes(8, "big") + data


def payload(zip_path: str, role: str = "host") -> Payload:
    """Read the packed agent, of which the host is to become that role."""
    contents = Path(zip_path).read_bytes()
    name, digest = Path(zip_path).name, hashlib.sha256(contents).hexdigest()
    return Payload(f"{_bootstrap()}\n\nmain({name!r}, {digest!r}, {role!r})\n".encode(), contents)


def first_call(environ: Mapping[str, str], host: str, python: str, size: int) -> list[str]:
    """Give the argv that runs the bootstrap on a host, which it reads from its standard input."""
    words = [python, "-IS", "-c", _FIRST_WORDS.format(size=size)]
    return [*_ssh(environ), *_OPTIONS, "--", host, f"exec {shlex.join(words)}"]


def another_call(environ: Mapping[str, str], host: str, python: str, zip_path: str, socket: str) -> list[str]:
    """Give the argv that connects to what the first call has left there."""
    words = [python, "-I", "-S", zip_path, "pipe", socket]
    return [*_ssh(environ), *_AGAIN, *_OPTIONS, "--", host, f"exec {shlex.join(words)}"]


def _bootstrap() -> str:
    """Give the source of the bootstrap, which may be in a zip itself."""
    loader = bootstrap.__loader__
    assert isinstance(loader, (SourceFileLoader, zipimporter))
    source = loader.get_source(bootstrap.__name__)
    assert source is not None
    return source


def _ssh(environ: Mapping[str, str]) -> list[str]:
    return shlex.split(environ.get(SSH, "")) or ["ssh"]
