"""From the order to the end of the run: a coordinator never goes without a word."""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import time
from pathlib import Path

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ExitStatus
from regiment.jobs.lock import RecordLock
from regiment.jobs.plain import from_plain
from regiment.jobs.record import RunError, RunStatus, read_record, utc_text, write_record
from regiment.jobs.workspace import RunFolder, Workspace

from ..backends.backend import Backend
from ..backends.keepers import FirstKeeper
from ..backends.local import LocalNodes
from ..node.limits import raise_limits
from .coordinator import Coordinator
from .order import Order

_OBJECTS = 100_000
"""New objects between two looks for garbage; of ours hardly any is, and with thousands of nodes a look takes long."""


def make_room() -> None:
    """Have this process ready for thousands of nodes, each of which takes open files and many small objects."""
    raise_limits()
    gc.set_threshold(_OBJECTS)


def see_through(first: FirstKeeper) -> None:
    """Take an order from standard input, a socket to whoever wants the run, and see it through."""
    make_room()
    owner = socket.socket(fileno=os.dup(0))
    order, lock, listener = _take_order(owner)
    folder = Workspace(Path(order.workspace)).run(order.run_id)
    order = _take_warm(order, first)
    try:
        Coordinator(order, folder, owner, lock, _backend(order, first, listener)).run()
    except Exception:  # noqa: BLE001  (whatever it was, the record has to say that the run is over)
        import traceback

        traceback.print_exc()
        _record_own_fault(folder)
        sys.exit(int(ExitStatus.INTERNAL_ERROR))


def _take_warm(order: Order, first: FirstKeeper) -> Order:
    """Let node 0 be one that has imported already what is to be forked, where there is a warm pool for that."""
    modules = order.warm_modules
    if modules is None or order.hosts is not None:
        return order  # On a host its own pool is asked.
    from ..backends.warm import NoPool, take

    try:
        first.replace(*take(order.python, modules, order.zip))
    except NoPool as error:
        if str(error):
            return replace(order, notes=(f"the warm pool is of no use here: {error}",))
    return order


def _backend(order: Order, first: FirstKeeper, listener: int | None) -> Backend:
    """Give what gets agents onto the run's nodes: most have no network, and are spared what it takes."""
    count = order.spec.instance_count
    if order.hosts is not None:
        from ..ssh.nodes import SshNodes

        return SshNodes(first, order.hosts, order.zip)
    if order.network is None or listener is None:
        return LocalNodes(first, count)
    from ..backends.joined import JoinedNodes

    return JoinedNodes(first, count, order.network, socket.socket(fileno=listener))


def _take_order(owner: socket.socket) -> tuple[Order, RecordLock, int | None]:
    """Wait for the order; its log becomes our output. Nobody may want a run after all, and then we just end."""
    data, files = b"", []
    while not data.endswith(b"\n"):
        part, new, _, _ = socket.recv_fds(owner, 1 << 16, 3)
        if not part:
            sys.exit(0)
        data += part
        files += new
    lock, log, *listener = files
    for file in (lock, *listener):
        os.set_inheritable(file, False)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    return from_plain(Order, json.loads(data)), RecordLock(lock), listener[0] if listener else None


def _record_own_fault(folder: RunFolder) -> None:
    """Mark the run failed by us; its agents notice our end and stop what runs."""
    log = folder.own_logs / "coordinator.log"
    error = RunError(
        f"Regiment's coordinator failed; {log} says how. Please report it.", log="logs/azureml/coordinator.log"
    )
    record = replace(
        read_record(folder.record),
        status=RunStatus.FAILED,
        error=error,
        exit_status=int(ExitStatus.INTERNAL_ERROR),
        end_time_utc=utc_text(time.time()),
    )
    write_record(folder.record, record)
