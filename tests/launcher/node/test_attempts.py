"""What a node looks at between two attempts: new outputs, and the memory of GPUs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from regiment.launcher.node.drain import wait_for_memory
from regiment.launcher.node.progress import NewOutputs


def test_a_file_that_is_new_or_has_grown_is_progress_and_one_written_again_is_none(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text("{}")
    before = NewOutputs([str(tmp_path), str(tmp_path / "not there")])
    assert not before.are_there()
    (tmp_path / "args.json").write_text("[]")
    assert not before.are_there()
    (tmp_path / "args.json").write_text("[1]")
    assert before.are_there()
    before = NewOutputs([str(tmp_path)])
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert not before.are_there()
    (tmp_path / "deep" / "er" / "step-1").touch()
    assert before.are_there()


def answers(folder: Path, lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program into PATH that answers as nvidia-smi does: how many MiB are in use."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nread used < {folder}/used; {lines}\n")
    program.chmod(0o700)
    (folder / "used").write_text("4000\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_an_attempt_waits_until_its_gpus_have_given_back_their_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(tmp_path, f"echo $used; echo $((used / 2)) > {tmp_path}/used", monkeypatch)
    assert wait_for_memory(("0",)) is None
    assert int((tmp_path / "used").read_text()) <= 256, "it was asked until little was left"


def test_memory_that_is_somebody_elses_is_not_waited_for_but_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(tmp_path, "echo 100; echo $used", monkeypatch)
    text = wait_for_memory(("0", "1"))
    assert text == "GPUs 0,1 still have 4000 MiB in use, of processes that are none of this run's"


def test_without_gpus_or_without_an_answer_nothing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wait_for_memory(()) is None
    answers(tmp_path, "echo 'No devices were found'; exit 6", monkeypatch)
    assert wait_for_memory(("0",)) is None
