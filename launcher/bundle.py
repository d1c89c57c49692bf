"""The packed agent: the part of Regiment that needs only the standard library, as one zip by content hash.

It runs where Regiment isn't installed, and nothing in a user's folder can shadow what is in it.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import marshal
import os
from importlib.machinery import SourceFileLoader
from pathlib import Path

import regiment
from regiment.jobs.files import private_folder, replace_bytes

_PARTS = (
    "jobs/__init__.py",
    "jobs/changes.py",
    "jobs/data.py",
    "jobs/dataclass.py",
    "jobs/edits.py",
    "jobs/errors.py",
    "jobs/expressions.py",
    "jobs/files.py",
    "jobs/index.py",
    "jobs/journal.py",
    "jobs/ledger.py",
    "jobs/ledger_file.py",
    "jobs/locations.py",
    "jobs/lock.py",
    "jobs/metric_values.py",
    "jobs/metrics.py",
    "jobs/placement.py",
    "jobs/plain.py",
    "jobs/record.py",
    "jobs/registry.py",
    "jobs/requests.py",
    "jobs/rows.py",
    "jobs/runfilter.py",
    "jobs/spec.py",
    "jobs/status.py",
    "jobs/sweep.py",
    "jobs/words.py",
    "jobs/workspace.py",
    "distribution",
    "launcher/__init__.py",
    "launcher/artifacts.py",
    "launcher/backends",
    "launcher/catchup.py",
    "launcher/coordinator",
    "launcher/coordinatorstart.py",
    "launcher/details.py",
    "launcher/indexplace.py",
    "launcher/join/__init__.py",
    "launcher/join/dialing.py",
    "launcher/join/giving.py",
    "launcher/join/relay.py",
    "launcher/join/stopgrace.py",
    "launcher/listing.py",
    "launcher/liveness.py",
    "launcher/making.py",
    "launcher/node",
    "launcher/operations.py",
    "launcher/roles.py",
    "launcher/rundefinition.py",
    "launcher/runs.py",
    "launcher/sdk",
    "launcher/slurm/__init__.py",
    "launcher/slurm/commands.py",
    "launcher/slurm/truth.py",
    "launcher/ssh",
    "launcher/taken.py",
    "launcher/waiting.py",
    "launcher/zips.py",
)
"""What travels; an import contract keeps it to the standard library."""
_STAYS = ("distribution/places/",)
"""What only the command that a container starts with needs, and that is installed where it runs."""
_EPOCH = (2020, 1, 1, 0, 0, 0)


def packed_agent(cache: Path) -> Path:
    """Give the zip's path, making it first where this version has none in the cache yet."""
    path = agent_zip(cache)
    if not is_ours(path):
        _write(path, _sources())
    return path


def agent_zip(cache: Path) -> Path:
    """Give the path that this version's zip has, whether it is there or not."""
    return cache / f"agent-{_digest()}.zip"


@functools.cache
def _sources() -> dict[str, bytes]:
    root = Path(next(iter(regiment.__path__)))
    sources = {f"regiment/{name}": (root / name).read_bytes() for name in _files(root)}
    sources["regiment/__init__.py"] = (root / "__init__.py").read_bytes()
    sources["__main__.py"] = b"from regiment.launcher.roles import main\n\nmain()\n"
    return sources


@functools.cache
def _digest() -> str:
    # Tells versions apart and nothing else, as Python's own hash of sources does: OpenSSL takes longer to load.
    parts = (name.encode() + b"\0" + source + b"\0" for name, source in sorted(_sources().items()))
    return importlib.util.source_hash(b"".join((importlib.util.MAGIC_NUMBER, *parts))).hex()


def is_ours(path: Path) -> bool:
    """Say whether a zip is there that nobody else can have put there or changed: it is about to be run."""
    try:
        stat = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.st_uid == os.getuid() and not stat.st_mode & 0o022


def _files(root: Path) -> list[str]:
    names = []
    for part in _PARTS:
        found = sorted((root / part).rglob("*.py")) if (root / part).is_dir() else [root / part]
        names += [str(path.relative_to(root)) for path in found]
    return [name for name in names if not name.startswith(_STAYS)]


def _write(path: Path, sources: dict[str, bytes]) -> None:
    import zipfile  # Only the first run of a version in a workspace needs it, and it takes longer than the rest.

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(sources):
            # Read only by another Python, and for tracebacks: half the size is worth more than the time it takes.
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), sources[name], zipfile.ZIP_DEFLATED)
            # Compiled for this Python; another version finds its own magic number missing and reads the source.
            archive.writestr(zipfile.ZipInfo(f"{name}c", _EPOCH), _compiled(name, sources[name]))
    private_folder(path.parent)
    replace_bytes(path, buffer.getvalue())


def _compiled(name: str, source: bytes) -> bytes:
    """Give the module's byte code as an unchecked hash-based .pyc (PEP 552)."""
    code = SourceFileLoader("regiment", name).source_to_code(source, name)
    flags = (0b01).to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshal.dumps(code)
