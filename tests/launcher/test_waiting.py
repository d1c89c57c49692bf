"""Readers that reach a coordinator in the very moment it ends: it hangs up before it has read what they ask."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regiment.jobs.dataclass import replace
from regiment.jobs.record import CoordinatorRecord, RunRecord, RunStatus, write_record
from regiment.jobs.workspace import RunFolder, Workspace
from regiment.launcher.node import processes
from regiment.launcher.runs import poke
from regiment.launcher.waiting import wait_for_end

RUNNING = RunRecord("r", "e", RunStatus.RUNNING, "", "true", "local", "none", 1, 1, False)


@contextmanager
def hanging_up(folder: RunFolder, path: Path) -> Iterator[threading.Thread]:
    """Keep a run whose coordinator (this process) hangs up on the first who asks, with the question unread."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        pid = os.getpid()
        owner = CoordinatorRecord(
            pid, processes.start_ticks(pid) or 0, processes.boot_id(), socket.gethostname(), str(path)
        )
        folder.root.mkdir(parents=True)
        write_record(folder.record, replace(RUNNING, coordinator=owner))

        def end() -> None:
            connection, _ = listener.accept()
            connection.recv(1, socket.MSG_PEEK)  # The question is there.
            write_record(folder.record, replace(RUNNING, status=RunStatus.COMPLETED, exit_status=0))
            connection.close()
            listener.close()

        thread = threading.Thread(target=end)
        thread.start()
        yield thread
        thread.join()


def test_waiting_goes_on_to_the_end(tmp_path: Path) -> None:
    folder = Workspace(tmp_path).run("r")
    with hanging_up(folder, tmp_path / "s"):
        assert wait_for_end(folder).exit_status == 0


def test_a_request_that_is_too_late_is_no_error(tmp_path: Path) -> None:
    folder = Workspace(tmp_path).run("r")
    with hanging_up(folder, tmp_path / "s") as coordinator:
        poke(folder)
        coordinator.join()
        assert not poke(folder)
