"""Makes a run and leaves it to its hosts; from then on it needs nobody here any more."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from regiment.jobs.data import DataInput, DataMode
from regiment.jobs.dataclass import dataclass, replace
from regiment.jobs.errors import NodeError, RegimentError, UserError
from regiment.jobs.files import private_folder
from regiment.jobs.locations import scheme
from regiment.jobs.plain import to_plain
from regiment.jobs.record import AwayRecord, RunStatus, read_record, write_record
from regiment.jobs.spec import ContainerRuntime, JobSpec
from regiment.jobs.workspace import RunFolder, Workspace

from ..bundle import packed_agent
from ..coordinator.files import check_files
from ..coordinator.hosts import Hosts
from ..coordinator.network import Network
from ..coordinator.order import Order
from ..join.certificate import make_certificate
from ..mpi import find_mpirun
from ..node.carrying import files_of, known, listing, parts_of, pieces_of
from ..node.parts import Form, Part
from ..node.runkey import KEY_BYTES
from ..ssh.afar import Afar
from ..ssh.visits import Visit, visit_all
from ..submit import Origin, check_launcher, make_run, make_workspace

Say = Callable[[str], None]


@dataclass(frozen=True)
class LeftRun:
    """A run that its hosts keep."""

    folder: RunFolder
    notes: tuple[str, ...]
    """What there is to say about its snapshot."""


def leave_to_hosts(
    spec: JobSpec, job_text: str, workspace: Workspace, hosts: Hosts, say: Say, origin: Origin | None = None
) -> LeftRun:
    """Make the run's folder, snapshot its code, hand it to the first host, and have the others join that.

    `say` hears of what takes long.

    Raises:
        RegimentError: It cannot be started; then there is no such run.
    """
    check_launcher(spec)
    if spec.options.container.runtime is not ContainerRuntime.NONE:
        raise UserError("regiment.container: only nodes of Slurm's are put into a container; leave it out")
    check_files(spec.instance_count)
    certificate, private_key = make_certificate()
    key = secrets.token_bytes(KEY_BYTES).hex()
    run_id = make_workspace(spec, workspace)
    zip_path = packed_agent(workspace.cache)
    away = AwayRecord(hosts.names[0], hosts.python, zip_path.name, secrets.token_hex(8))
    order = Order(
        spec=replace(spec, code=spec.code or spec.code_url),
        workspace="",
        run_id=run_id,
        attached=False,
        zip="",
        python=hosts.python,
        agent_python=hosts.python,
        mpirun=find_mpirun(spec, has_srun=False),
        network=Network("", key, certificate, private_key, hosts.limit),
    )
    visits = _all_visits(hosts, str(zip_path), say)
    try:
        folder, lock, notes = make_run(
            spec,
            job_text,
            workspace,
            run_id,
            attached=False,
            origin=origin,
            finish=lambda folder: _hand_over(folder, job_text, order, away, visits),
        )
        lock.release()
    finally:
        for visit in visits:
            visit.close()
    return LeftRun(folder, notes)


def _all_visits(hosts: Hosts, zip_path: str, say: Say) -> tuple[Visit, ...]:
    """Give connections to all hosts; that one cannot be reached is an error about all that cannot."""
    found = visit_all(hosts.names, hosts.python, zip_path, hosts.limit, say)
    visits = tuple(visit for visit in found if isinstance(visit, Visit))
    reasons = [reason for reason in found if isinstance(reason, str)]
    if reasons:
        for visit in visits:
            visit.close()
        more = f" (and {len(reasons) - 1} more: {'; '.join(reasons[1:4])})" if len(reasons) > 1 else ""
        raise NodeError(f"{reasons[0]}{more}")
    return visits


def _hand_over(folder: RunFolder, job_text: str, order: Order, away: AwayRecord, visits: tuple[Visit, ...]) -> None:
    """Give the run to the first host, have the others join it, and write down where it is."""
    first, others = visits[0], visits[1:]
    record = replace(read_record(folder.record), status=RunStatus.STARTING, coordinator=None)
    take = {"errand": "take", "token": away.token, "runId": folder.run_id, "record": to_plain(record)}
    first.send({**take, "job": job_text, "order": to_plain(order)})
    _send_files(first, folder, order.spec)
    there = first.hear()
    write_record(folder.record, replace(record, away=away))
    try:
        for rank, visit in enumerate(others, 1):
            assert order.network is not None
            way = Afar(rank, str(there["address"]), int(there["port"]), order.network.key, order.has_lives)
            visit.send({"errand": "join", "way": to_plain(way)})
        reasons = [reason for visit in others if (reason := _why_not(visit))]
        if reasons:
            raise NodeError(
                f"{reasons[0]}; a detached run's hosts have to reach its first one, {away.host}, over the network: let "
                "them, or leave --detach out"
            )
    except RegimentError as error:
        _take_back(first, folder, away, str(error))
        raise
    private_folder(folder.workspace.away)
    (folder.workspace.away / folder.run_id).touch(mode=0o600)


def _why_not(visit: Visit) -> str | None:
    try:
        visit.hear()
    except RegimentError as error:
        return str(error)
    return None


def _take_back(first: Visit, folder: RunFolder, away: AwayRecord, reason: str) -> None:
    """End a run that cannot begin, and leave nothing of it."""
    words: dict[str, Any] = {"token": away.token, "runId": folder.run_id}
    request = {"type": "cancel", "reason": reason, "force": True}
    first.ask({"errand": "ask", **words, "request": request})
    first.ask({"errand": "forget", **words})


# --- its files --------------------------------------------------------------------------------------


def _send_files(first: Visit, folder: RunFolder, spec: JobSpec) -> None:
    """Send the snapshot and inputs: what there is by its hash or its look, then what of it is not known there."""
    problems: list[str] = []
    parts = _files(folder, spec, problems)
    number = 0
    while True:
        for part in parts:
            number += 1
            first.send({"part": to_plain(replace(part, number=number))})
        if problems:
            raise NodeError(f"the job's files cannot be read: {problems[0]}")
        missing = first.ask({"sent": True})["missing"]
        if not missing:
            return
        parts = _contents(folder, spec, missing)


def _files(folder: RunFolder, spec: JobSpec, problems: list[str]) -> Iterator[Part]:
    yield from parts_of(folder.code, folder.root, problems.append, known)
    for index, item in enumerate(spec.inputs.values()):
        is_local = isinstance(item, DataInput) and item.mode is not DataMode.DIRECT and scheme(item.path) is None
        if isinstance(item, DataInput) and is_local and (digest := listing(item.path)) is not None:
            yield Part(0, f"inputs/{index}", Form.SEEN, data=item.path, digest=digest)


def _contents(folder: RunFolder, spec: JobSpec, missing: list[str]) -> Iterator[Part]:
    sources = {
        f"inputs/{index}": item.path for index, item in enumerate(spec.inputs.values()) if isinstance(item, DataInput)
    }
    for path in missing:
        if path in sources:
            yield from files_of(sources[path], path)
        elif path.startswith("code/") and ".." not in Path(path).parts:
            yield from pieces_of(path, os.fspath(folder.root / path))
        else:
            raise NodeError(f"a host asks for {path!r}, which it is not to have")
