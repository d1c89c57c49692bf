"""What kind of cause it was, which restarts go by: cases as data."""

from __future__ import annotations

import pytest

from regiment.distribution.causes import CauseClass, Evidence, classify
from regiment.distribution.circumstances import Circumstances, Memory
from regiment.distribution.lastwords import LoggedException

KILLED_FOR_MEMORY = Circumstances(Memory(1, 1 << 30, 1 << 30))


def said(kind: str, message: str = "", *behind: LoggedException) -> LoggedException:
    return LoggedException(kind, message, "train.py", 3, "step", behind)


CASES = {
    "an exit code": (Evidence(exit_code=7), CauseClass.USER_ERROR),
    "an exception": (Evidence(exit_code=1, exception=said("ValueError", "bad batch")), CauseClass.USER_ERROR),
    "a crash": (Evidence(signal="SIGSEGV"), CauseClass.USER_ERROR),
    "a program that is not there": (Evidence(exit_code=127), CauseClass.USER_ERROR),
    "a failed device assertion": (
        Evidence(exit_code=1, exception=said("RuntimeError", "CUDA error: device-side assert triggered")),
        CauseClass.USER_ERROR,
    ),
    "killed for memory": (Evidence(signal="SIGKILL", circumstances=KILLED_FOR_MEMORY), CauseClass.OUT_OF_MEMORY),
    "a shell whose program was killed for memory": (
        Evidence(exit_code=137, circumstances=KILLED_FOR_MEMORY),
        CauseClass.OUT_OF_MEMORY,
    ),
    "a crash while something else was killed": (
        Evidence(signal="SIGSEGV", circumstances=KILLED_FOR_MEMORY),
        CauseClass.USER_ERROR,
    ),
    "a GPU's memory": (
        Evidence(exit_code=1, exception=said("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2 GiB")),
        CauseClass.OUT_OF_MEMORY,
    ),
    "what memory was behind": (
        Evidence(exit_code=1, exception=said("RuntimeError", "step", said("MemoryError"))),
        CauseClass.OUT_OF_MEMORY,
    ),
    "a full /dev/shm": (
        Evidence(signal="SIGBUS", circumstances=Circumstances(shared_memory_full=True)),
        CauseClass.OUT_OF_MEMORY,
    ),
    "a bus error alone": (Evidence(signal="SIGBUS"), CauseClass.USER_ERROR),
    "killed from outside": (
        Evidence(signal="SIGKILL", circumstances=Circumstances(Memory(0))),
        CauseClass.INFRASTRUCTURE,
    ),
    "a lost node": (Evidence(is_process=False), CauseClass.INFRASTRUCTURE),
    "a broken GPU": (
        Evidence(exit_code=1, exception=said("RuntimeError", "CUDA error: uncorrectable ECC error encountered")),
        CauseClass.INFRASTRUCTURE,
    ),
    "a broken file system": (
        Evidence(exit_code=1, exception=said("OSError", "[Errno 116] Stale file handle: 'data'")),
        CauseClass.INFRASTRUCTURE,
    ),
    "a peer that nobody knows": (
        Evidence(exit_code=1, exception=said("RuntimeError", "Connection closed by peer [10.0.0.2]:1")),
        CauseClass.INFRASTRUCTURE,
    ),
    "a launcher": (Evidence(exit_code=1, is_process=False, is_launchers=True), CauseClass.LAUNCHER),
    "announced": (Evidence(signal="SIGTERM", was_announced=True), CauseClass.PREEMPTION),
}


@pytest.mark.parametrize(("evidence", "expected"), CASES.values(), ids=CASES)
def test_each_cause_has_its_class(evidence: Evidence, expected: CauseClass) -> None:
    assert classify(evidence) is expected
