"""`regiment agent`: the entrypoint of a container that something else has started on each node of a run."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from regiment.distribution.places.place import Place
from regiment.jobs.errors import UserError
from regiment.jobs.record import read_record
from regiment.jobs.workspace import Workspace

from ..join.stopgrace import rank_grace
from ..node import scratch
from ..node.runkey import read_key
from .output import say
from .place import explain_place, place_of
from .request import workspace_of

_AGAIN = 1.0
"""Seconds after which a process that was told to end, and is still there, is told again."""


def agent(options: argparse.Namespace) -> int:
    """Be this machine's node of a run; node 0 is its coordinator's machine too. Gives the run's exit status."""
    if options.explain:
        return explain_place(options)
    if options.output != "table" or options.query is not None:
        raise UserError("-o and --query are for 'regiment agent --explain', which starts nothing")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            # The first process of a container gets no signal that it has not asked for.
            signal.signal(number, _end)
    if options.run_folder is not None:
        from ..slurm.node import be_a_node

        return be_a_node(Path(options.run_folder), options.start_timeout, partial(_say, quiet=options.quiet))
    place = place_of(options)
    key = read_key(place.key_file)
    return _first(options, place, key) if place.rank == 0 else _other(options, place, key)


def _end(number: int, _: object) -> None:
    """End by an exception, so that all is tidied up; Python drops one that comes in a `__del__`, so another follows."""
    signal.signal(signal.SIGALRM, lambda _, frame: _end(number, frame))
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    sys.exit(128 + number)


def _first(options: argparse.Namespace, place: Place, key: bytes) -> int:
    from ..coordinator.network import Network
    from ..join.certificate import make_certificate
    from ..join.listening import listen
    from ..submit import Joining, submit
    from .request import check_prefix_program, read_request
    from .run import watch

    fewest, _ = options.nodes or (None, None)
    options.nodes = (fewest, place.nodes)
    request = read_request(options)
    check_prefix_program(request, options)
    certificate, private_key = make_certificate()
    listener, address = listen(place)
    network = Network(address, key.hex(), certificate, private_key, options.start_timeout)
    with listener:
        submission = submit(
            request.spec,
            request.text,
            workspace_of(options),
            attached=True,
            joining=Joining(network, listener),
        )
    for note in (*request.notes, *submission.notes):
        say(f"regiment: {note}", quiet=options.quiet)
    folder, status = watch(submission, options, rank_grace(options.stop_grace))
    if options.pass_exit_code:
        code = read_record(folder.record).job_exit_code
        return status if code is None else code
    return status


def _other(options: argparse.Namespace, place: Place, key: bytes) -> int:
    from ..join.dialing import dial
    from ..join.relay import Relay

    tell = partial(_say, quiet=options.quiet)
    with _packed_agent(workspace_of(options)) as zip_path:
        connection = dial(place, key, options.start_timeout, tell)
        return Relay(
            f"the coordinator at {place.master}",
            connection.stream,
            connection.address,
            zip_path,
            options.stop_grace,
            tell,
        ).run()


@contextmanager
def _packed_agent(workspace: Workspace) -> Iterator[Path]:
    """Give the packed agent, in the workspace where one can be: a node may have nothing but a folder for sockets."""
    from ..bundle import packed_agent

    try:
        kept = packed_agent(workspace.cache)
    except OSError:
        kept = None
    if kept is not None:
        yield kept
        return
    folder = scratch.socket_folder()
    try:
        yield packed_agent(Path(folder))
    finally:
        scratch.remove(folder)


def _say(text: str, *, quiet: bool) -> None:
    say(f"regiment: {text}", quiet=quiet)
