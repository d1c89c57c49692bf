"""What a host keeps of Regiment's versions, and what it removes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from regiment.launcher.ssh.agents import UNUSED, tidy


def agent(folder: Path, name: str, age: float) -> Path:
    """Give a packed agent that was last started so many seconds ago."""
    path = folder / f"agent-{name}.zip"
    path.write_bytes(b"")
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_an_agent_that_nobody_has_started_for_a_month_is_removed(tmp_path: Path) -> None:
    ours, recent = agent(tmp_path, "ours", 2 * UNUSED), agent(tmp_path, "recent", UNUSED - 3600)
    agent(tmp_path, "old", UNUSED + 3600)
    others = tmp_path / "files"
    others.mkdir()
    tidy(str(ours))
    assert set(tmp_path.iterdir()) == {ours, recent, others}


def test_an_old_agent_stays_while_something_runs_that_was_started_from_it(tmp_path: Path) -> None:
    ours, used = agent(tmp_path, "ours", 0), agent(tmp_path, "used", 2 * UNUSED)
    argv = (sys.executable, "-c", "print('up', flush=True), input()", str(used))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waits:
        assert waits.stdout is not None
        assert waits.stdout.readline() == b"up\n"  # Until it has come so far it may have no command line yet.
        tidy(str(ours))
        assert used.exists()
        waits.communicate(b"\n")
    tidy(str(ours))
    assert not used.exists()
