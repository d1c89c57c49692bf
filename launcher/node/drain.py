"""The memory of GPUs after an attempt: drivers give back what dead processes had only after a moment.

A rank that starts before that fails for want of memory, through no fault of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence

_FREE = 512
"""MiB in use that count as none: what the driver itself takes."""
_LIMIT = 30.0
"""Seconds that is waited."""
_STEADY = 2.0
"""Seconds without any change after which what is in use is taken for somebody else's."""
_INTERVAL = 0.25


def wait_for_memory(gpus: Sequence[str]) -> str | None:
    """Wait until the GPUs' memory is free, or stays as it is; gives what to say of memory that is still in use.

    Where there is no nvidia-smi, or it does not know these GPUs, nothing is waited for.
    """
    program = shutil.which("nvidia-smi")
    if not gpus or program is None:
        return None
    deadline = time.monotonic() + _LIMIT
    last: list[int] = []
    changed_at = time.monotonic()
    while True:
        used = _used(program, gpus)
        now = time.monotonic()
        if used is None or max(used, default=0) <= _FREE:
            return None
        if used != last:
            last, changed_at = used, now
        if now > deadline or now - changed_at > _STEADY:
            return f"GPUs {','.join(gpus)} still have {max(used)} MiB in use, of processes that are none of this run's"
        time.sleep(_INTERVAL)


def _used(program: str, gpus: Sequence[str]) -> list[int] | None:
    query = [program, f"--id={','.join(gpus)}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=_LIMIT, check=True)
        return [int(line) for line in answer.stdout.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
