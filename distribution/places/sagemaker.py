"""SageMaker's training and processing jobs: a file names all hosts and the own one."""

from __future__ import annotations

from regiment.jobs.errors import UserError

from . import values
from .place import Environ, Found, Read

_FILES = ("/opt/ml/input/config/resourceconfig.json", "/opt/ml/config/resourceconfig.json")
"""Of training jobs, and of processing jobs."""


def sagemaker(environ: Environ, read: Read) -> Found | None:
    """Read the own host's place among all of them, `algo-2` before `algo-10`."""
    for path in _FILES:
        text = read(path)
        if text is not None:
            return _found(environ, path, text)
    return None


def _found(environ: Environ, path: str, text: str) -> Found:
    config = values.document(text, path)
    hosts = sorted(set(values.texts(config.get("hosts"), f"'hosts' in {path}")), key=values.natural)
    own = config.get("current_host")
    if own not in hosts:
        raise UserError(f"'current_host' in {path} is {values.shown(str(own))}, which is none of its 'hosts'")
    said = (
        values.count(str(len(hosts)), path),
        values.rank(str(hosts.index(own)), path),
        values.host(hosts[0], path),
    )
    return Found("SageMaker", said, environ.get("TRAINING_JOB_NAME"))
