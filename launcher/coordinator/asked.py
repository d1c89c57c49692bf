"""What the job's processes ask of the record: done in threads, for the loop never waits."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regiment.jobs.errors import ExitStatus, NodeError, RegimentError, UserError
from regiment.jobs.plain import to_plain
from regiment.jobs.workspace import Workspace

from ..node import messages, processes
from ..node.channel import MAX_MESSAGE, encode
from ..node.loop import Loop
from ..operations import Asker, Submit, read_request
from ..runs import this_process
from .order import Order

_START = "import sys; sys.path[:] = filter(None, sys.path); from regiment.launcher.submitted import main; main()"
"""Starts the submission of a job; the current folder is the user's, and nothing in it may stand for a module."""


class Asked:
    """Answers the questions of one run's processes."""

    def __init__(self, loop: Loop, order: Order, answer: Callable[[int, messages.JobAnswer], None]) -> None:
        """`answer` sends an answer to a node."""
        self._loop = loop
        self._order = order
        self._answer = answer
        # Runs that a process of the job makes and never completes end with this run.
        self._asker = Asker(Workspace(Path(order.workspace)), self._submit, this_process())
        self._changing = threading.Lock()
        self._letting_go = threading.Lock()
        self.starting: frozenset[int] = frozenset()
        """Processes of ours that are submitting something: they belong to no node."""

    def take(self, node: int, question: messages.JobAsks) -> None:
        """Answer a question from that node, some time."""
        threading.Thread(target=self._work, args=(node, question), daemon=True).start()

    def _work(self, node: int, question: messages.JobAsks) -> None:
        # Who asks waits, so there is an answer whatever happens; the traceback is in coordinator.log.
        answer = messages.JobAnswer(
            question.call,
            refusal="Regiment's coordinator failed at this; logs/azureml/coordinator.log of the run says how",
            exit_status=int(ExitStatus.INTERNAL_ERROR),
        )
        try:
            found = self._asker.perform(read_request(question.request))
            answer = _sendable(messages.JobAnswer(question.call, to_plain(found)))
        except RegimentError as error:
            answer = messages.JobAnswer(question.call, refusal=str(error), exit_status=int(error.exit_status))
        except OSError as error:
            text = f"the workspace cannot be written or read: {error}"
            answer = messages.JobAnswer(question.call, refusal=text, exit_status=int(ExitStatus.NODE_ERROR))
        finally:
            self._loop.post(lambda: self._answer(node, answer))

    # --- runs of their own --------------------------------------------------------------------------

    def _submit(self, request: Submit) -> Any:
        """Start a run that is none of ours: not in our tree, without our tag, from our own environment."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours:
            pid, pidfd = self._start(theirs)
            try:
                wish = {"workspace": self._order.workspace, "request": to_plain(request)}
                ours.sendall(json.dumps(wish).encode() + b"\n")
                line = _read_line(ours)
                self._let_go(ours, pidfd)
            finally:
                os.close(pidfd)
                with self._changing:
                    self.starting -= {pid}
        if not line:
            raise NodeError("the submission ended without a word; the run's logs/azureml/coordinator.log says why")
        answer = json.loads(line)
        if "refusal" in answer:
            error = RegimentError(answer["refusal"])
            error.exit_status = ExitStatus(answer["exitStatus"])
            raise error
        return answer

    def _start(self, theirs: socket.socket) -> tuple[int, int]:
        """Start the process that submits; gives its pid and what becomes readable at its end."""
        order = self._order
        with theirs:
            pid = os.posix_spawn(
                order.python,
                [order.python, "-c", _START],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
            )
        with self._changing:
            self.starting |= {pid}
        try:
            return pid, os.pidfd_open(pid)
        except OSError:
            raise NodeError("the submission ended at once; the run's logs/azureml/coordinator.log says why") from None

    def _let_go(self, connection: socket.socket, pidfd: int) -> None:
        """Let the submitting process end, and the coordinator that it has started go to whoever reaps our orphans.

        We would be that, and what a lost node leaves is told from other children of ours by that alone.
        """
        with self._letting_go, processes.not_subreaper():
            connection.shutdown(socket.SHUT_RDWR)
            select.select([pidfd], [], [])


def _sendable(answer: messages.JobAnswer) -> messages.JobAnswer:
    """Give the answer where it is not too long for a message, which would end the connection to the node."""
    size = len(encode(messages.pack(answer)))
    if size <= MAX_MESSAGE:
        return answer
    raise UserError(
        f"the answer has {size >> 20} MB, and {MAX_MESSAGE >> 20} MB can be sent to a job; ask for less, for example "
        "by tags or status, or ask from outside of the job"
    )


def _read_line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part:
            return b""
        data += part
    return data
