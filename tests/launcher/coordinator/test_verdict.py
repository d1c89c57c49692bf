"""What is read for a verdict."""

from __future__ import annotations

from pathlib import Path

from regiment.launcher.coordinator.verdict import last_lines

REASON = ["epoch 1", "Traceback (most recent call last):", '  File "train.py", line 3', "ValueError: bad batch"]
TORCHRUNS = [
    "E1121 15:00:00 [api.py:984] failed (exitcode: 1) local_rank: 0 (pid: 7) of binary: python",
    "Traceback (most recent call last):",
    *(f'  File "run.py", line {number}, in run' for number in range(20)),
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
    "=" * 60,
    "train.py FAILED",
    *(f"  exitcode  : {number}" for number in range(20)),
]


def test_the_last_twenty_lines_are_given(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert last_lines(log) == tuple(f"line {number}" for number in range(80, 100))


def test_a_users_own_torchrun_does_not_hide_the_reason(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join([*REASON, *TORCHRUNS]))
    assert last_lines(log) == (*REASON, TORCHRUNS[0])


def test_where_torchrun_alone_speaks_it_is_heard(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(TORCHRUNS[1:]))
    assert last_lines(log) == tuple(TORCHRUNS[-20:])


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none") == ()
