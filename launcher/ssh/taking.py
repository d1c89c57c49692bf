"""A run that is handed to its node 0: its files are taken, and a coordinator that stays when the caller has gone."""

from __future__ import annotations

import socket
import sys

from regiment.jobs.data import DataInput, Input
from regiment.jobs.dataclass import replace
from regiment.jobs.errors import NodeError
from regiment.jobs.files import private_folder, replace_file
from regiment.jobs.lock import RecordLock, lock_new
from regiment.jobs.plain import from_plain
from regiment.jobs.record import RunRecord, write_record
from regiment.jobs.spec import JobSpec
from regiment.jobs.workspace import RunFolder

from ..coordinator.order import Order
from ..coordinatorstart import CoordinatorProcess
from ..making import make_folder
from ..node import scratch
from ..node.contentcache import ContentCache
from ..node.ownfolder import base_of, sent_input
from ..node.parts import Part
from ..node.receiving import Receiver
from .errands import Desk, Words
from .host import forget_call, own_address

_QUEUE = 4096
"""Connections that may wait to be taken."""


def take_up(desk: Desk, words: Words) -> None:
    """Take a run and start it; says where its other nodes are awaited."""
    workspace = desk.workspace(words)
    for path in (workspace.runs, workspace.store, workspace.cache):
        private_folder(path)
    try:
        folder = make_folder(workspace, str(words["runId"]))
        with lock_new(folder.lock) as lock:
            _receive(desk, folder)
            write_record(folder.record, from_plain(RunRecord, words["record"]))
            replace_file(folder.job_file, words["job"])
            address, port = _start(desk, folder, lock, from_plain(Order, words["order"]))
    except BaseException:
        scratch.remove(str(workspace.root))  # There is no run, then.
        raise
    desk.say({"address": address, "port": port})


def _start(desk: Desk, folder: RunFolder, lock: RecordLock, order: Order) -> tuple[str, int]:
    """Give the run to a coordinator; gives where its other nodes are awaited."""
    assert order.network is not None
    address = own_address()
    forget_call()
    with _listener(address) as listener:
        order = replace(
            order,
            spec=_with_inputs(order.spec, folder),
            workspace=str(folder.workspace.root),
            zip=str(desk.zip),
            agent_python=sys.executable,
            network=replace(order.network, address=address),
        )
        # Nobody here waits for the run.
        CoordinatorProcess(desk.zip).take_up(order, folder, lock, listener).close()
        return address, int(listener.getsockname()[1])


def _listener(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, 0), family=family, backlog=_QUEUE)


def _receive(desk: Desk, folder: RunFolder) -> None:
    """Take the snapshot and inputs: first what there is, then what of it is not known here."""
    cache = ContentCache(str(desk.kept / "contents"))
    receiver = Receiver(folder.root, base_of, cache=cache)
    for round_words in desk.words():
        if "part" in round_words:
            receiver.take(from_plain(Part, round_words["part"]))
            continue
        problems = receiver.problems()
        if problems:
            raise NodeError(f"the job's files could not be written: {problems[0]}")
        missing = receiver.missing()
        desk.say({"missing": missing})
        sys.stdout.buffer.flush()
        if not missing:
            cache.tidy()
            return
    sys.exit(0)  # Whoever called has gone, and there is no run.


def _with_inputs(spec: JobSpec, folder: RunFolder) -> JobSpec:
    """Let the run take those of its inputs that were sent from where they are here."""

    def here(index: int, item: Input) -> Input:
        if not isinstance(item, DataInput):
            return item
        path = sent_input(folder.root / "inputs" / str(index), item.kind == "uri_file")
        return item if path is None else replace(item, path=path)

    return replace(spec, inputs={name: here(index, item) for index, (name, item) in enumerate(spec.inputs.items())})
