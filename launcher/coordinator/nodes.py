"""The run's nodes as the coordinator knows them: how each is reached, and what each says of itself."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regiment.distribution import events
from regiment.distribution.circumstances import Circumstances
from regiment.distribution.planner import wants_ports
from regiment.distribution.tasks import node_slots
from regiment.jobs.errors import ProtocolError
from regiment.jobs.files import replace_file
from regiment.jobs.placement import Node, Placement
from regiment.jobs.spec import Plain
from regiment.jobs.workspace import RunFolder

from ..backends.backend import AgentChannel, Backend, Ready, StartedNode
from ..node import messages, processes
from ..node.channel import encode
from ..node.config import NodeConfig, Sharing
from ..node.loop import Loop
from ..node.tag import tag_of
from .order import Order
from .pulse import Pulse
from .recorder import Recorder

if TYPE_CHECKING:
    from .apart import ApartNode
    from .asked import Asked
    from .provisions import Provisions
    from .spreading import Spreading
    from .trials import Trials

_LEASE = 1.0
"""Seconds an agent of this machine waits for a coordinator that is gone; nobody re-dials it here."""


_Happened = (
    messages.Prepared
    | messages.Failed
    | messages.Started
    | messages.Exited
    | messages.LauncherEnded
    | messages.LauncherAsks
    | messages.Stopped
    | messages.Collected
)
"""What an agent says that decisions are made about, word by word."""


class Nodes:
    """Starts the agents, talks with them, and turns what they say into events."""

    def __init__(
        self,
        loop: Loop,
        order: Order,
        folder: RunFolder,
        sockets: str,
        recorder: Recorder,
        backend: Backend,
        happened: Callable[[events.Event], None],
        on_ports: Callable[[], None],
        on_log: Callable[[int, int], None],
    ) -> None:
        """`on_ports` hears that all ports are held; `on_log` gets a rank and the size its log has grown to."""
        self._loop = loop
        self._order = order
        self._folder = folder
        self._sockets = sockets
        self._recorder = recorder
        self._happened = happened
        self._on_ports = on_ports
        self._on_log = on_log
        self._asked: Asked | None = None
        self._backend = backend
        self._boot_id = processes.boot_id()
        self._count = order.spec.instance_count
        self._slots = node_slots(order.spec)
        self._numa = processes.numa_nodes()
        self._ports: dict[int, tuple[int, ...]] = {}
        self._awaited: set[int] = set()
        """Nodes that have not said yet that they hold their ports."""
        self._machines: list[StartedNode] = []
        self._agents: dict[int, AgentChannel] = {}
        self._hellos: dict[int, messages.AgentHello] = {}
        self._places: dict[int, str] = {}
        """Where each node was when it came last."""
        self._said_of_addresses = ""
        """The last reason that was recorded for the nodes' addresses."""
        self._released: set[int] = set()
        self._lives = [0] * self._count
        self._apart: dict[int, ApartNode] = {}
        """Those that do not see the run folder."""
        self._provisions: Provisions | None = None
        self._has_doors = False
        """Whether a node has said where it can be reached."""
        self._trials: Trials | None = None
        self._has_told_failures = False
        self._spreading: Spreading | None = None
        self._token = os.urandom(8).hex() if backend.may_be_apart else ""
        self.has_new_places = False
        """Whether a node has come since that was last set to False whose folders are not where they were planned."""
        self._noted: set[str] = set()
        ping = encode(messages.pack(messages.Ping()))
        self._pulse = Pulse(loop, lambda index: self.tell_line(index, ping), self._silent)
        self.circumstances: dict[int, Circumstances] = {}
        """What nodes saw when a process ended otherwise than well, by rank."""

    def start(self) -> None:
        """Start one keeper and agent a node."""
        if self._token:
            replace_file(self._folder.mark(self._token), self._token)
        self._backend.open(
            self._loop,
            note=lambda text: self._recorder.note("warning", text),
            on_return=lambda: self._happened(events.RejoinRequested()),
        )
        self._machines = [self._start(index) for index in range(self._count)]

    def tell(self, index: int, message: messages.ToAgent) -> None:
        """Say something to a node's agent, if it is there."""
        if isinstance(message, messages.Release):
            self._released.add(index)
            self._pulse.forget(index)
        if index in self._apart and isinstance(message, messages.Stop | messages.Collect | messages.Release):
            self._apart[index].provide_no_more()
        self.tell_line(index, encode(messages.pack(message)))

    def tell_line(self, index: int, line: bytes) -> None:
        """Say what is encoded already."""
        if index in self._agents:
            self._agents[index].send_line(line)

    def fence(self, index: int) -> list[int]:
        """Kill what a lost node may still run, agent and keeper included; gives the pids that would not die."""
        self._pulse.forget(index)
        if self._trials is not None:
            self._trials.forget(index)
        channel = self._agents.pop(index, None)
        if channel is not None:
            channel.close()
        if index in self._apart:
            self._apart.pop(index).end()
        if index >= len(self._machines):
            return []
        keepers = (machine.keeper for i, machine in enumerate(self._machines) if i != index)
        others = frozenset(keeper for keeper in keepers if keeper is not None)
        return self._machines[index].fence(others | (self._asked.starting if self._asked else frozenset()))

    def ends_by(self, index: int) -> float | None:
        """Give when a lost node has ended by itself what it runs; None where fencing it makes sure of that."""
        return self._machines[index].ends_by if index < len(self._machines) else None

    def start_again(self, index: int) -> None:
        """Start keeper and agent of a node anew that was lost and has been fenced."""
        self._lives[index] += 1
        self._hellos.pop(index, None)
        self._machines[index] = self._start(index)

    def folder(self, index: int) -> RunFolder:
        """Give the run folder as a node has it."""
        apart = self._apart.get(index)
        return self._folder if apart is None else apart.folder

    def prepare(self, index: int, message: messages.Prepare) -> None:
        """Let a node make its folders, once it has the snapshot and the inputs."""
        if self._trials is None and self._has_doors:
            from .trials import Trials  # Where all nodes are this machine, there is nothing to try.

            self._trials = Trials(self.tell)
            self._trials.begin(self._reported_placement(), self._hellos)
        apart = self._apart.get(index)
        if apart is None:
            self.tell(index, message)
            return
        from .provisions import Provisions

        if self._provisions is None:
            self._provisions = Provisions(self._loop, self._folder, message)
        apart.provide(self._provisions, then=lambda: self.tell(index, message))

    def forget_token(self) -> None:
        """Take away what nodes find out by that they see the run folder."""
        if self._token:
            self._folder.mark(self._token).unlink(missing_ok=True)

    def is_again(self, index: int) -> bool:
        """Say whether a node was there before and was lost."""
        return self._lives[index] > 0

    def forget_attempt(self) -> None:
        """Forget the ports of an attempt that is over, and how its processes ended."""
        self._ports = {}
        self.circumstances.clear()

    def reserve_ports(self) -> None:
        """Have the nodes hold the ports the processes need: one on node 0 to meet at, and one each where wanted."""
        if self._trials is not None:
            self._trials.when_done(self._reserve_if_reached)
        else:
            self._reserve_ports()

    def _reserve_if_reached(self) -> None:
        """Go on, unless processes that have to meet could not."""
        assert self._trials is not None
        failures = self._trials.failures()
        if failures and not self._has_told_failures:
            self._has_told_failures = True
            first = failures[0]
            text = self._trials.sentence(first, {index: hello.host for index, hello in self._hellos.items()})
            if first.target == 0 and not isinstance(self._order.spec.distribution, Plain):
                self._happened(events.NodeFailed(first.node, text))
                return
            self._recorder.note("warning", f"node-{first.node} {text}")
        self._reserve_ports()

    def _reserve_ports(self) -> None:
        self._ports = {}
        counts = {index: count for index in range(self._count) if (count := self._port_count(index))}
        self._awaited = set(counts)
        for index, count in counts.items():
            self.tell(index, messages.ReservePorts(count))

    def _port_count(self, index: int) -> int:
        return (self._slots[index] if wants_ports(self._order.spec) else 0) + (1 if index == 0 else 0)

    def _reported_placement(self) -> Placement:
        """Give where the nodes are as they say themselves."""
        first = self._ports.get(0, ())
        port = str(first[0]) if first else "{port}"
        return Placement(tuple(self._place(i) for i in range(self._count)), port)

    def placement(self) -> Placement:
        """Give where the nodes are, as far as that is known; before that, with placeholders."""
        placement = self._reported_placement()
        if not any(hello.interfaces for hello in self._hellos.values()):
            return placement  # All are this machine, or nothing is known of them yet.
        from .addresses import addressed

        placement, reason = addressed(placement, self._hellos, () if self._trials is None else self._trials.done)
        if self._ports and reason != self._said_of_addresses:  # Before, it may not have been tried yet.
            self._said_of_addresses = reason
            self._recorder.event({"event": "addresses", "reason": reason})
        for index in self._hellos:
            self._recorder.node(index, ip=placement.nodes[index].address)
        return placement

    def _start(self, index: int) -> StartedNode:
        life = self._lives[index]
        config = NodeConfig(
            node=index,
            node_id=f"node-{index}",
            tag=tag_of(self._backend.token, index, life),
            socket=f"{self._sockets}/node-{index}-{life}.sock" if life else f"{self._sockets}/node-{index}.sock",
            address="127.0.0.1",
            cpus=self._backend.share(index).cpus,
            lease=_LEASE,
            zip=self._order.zip,
            python=self._order.agent_python,
            outputs=str(self._collected(index, self._folder.outputs)),
            logs=str(self._collected(index, self._folder.logs)),
            live_logs=str(self._folder.logs if index == 0 else self._folder.logs / f"node-{index}"),
            metrics=str(self._folder.metrics),
            fetched=str(self._folder.fetched),
            views=self._order.has_views,
            warm_modules=None if self._order.has_lives else self._order.warm_modules,
            sharing=self._sharing(life) if self._token else None,
            asks=bool(self._token),
        )
        return self._backend.start(
            self._loop,
            config,
            on_ready=lambda ready: self._connect(index, life, ready),
            on_lost=lambda reason: self._lost(index, life, reason),
            on_gone=lambda: self._gone(index, life),
        )

    def _sharing(self, life: int) -> Sharing:
        folder = self._folder
        return Sharing(str(folder.root), str(folder.scratch), self._token, life, self._backend.hidden)

    def _lost(self, index: int, life: int, reason: str) -> None:
        if life == self._lives[index]:
            self._happened(events.NodeLost(index, reason))

    def _gone(self, index: int, life: int) -> None:
        # The end of an earlier life of the node says nothing of the present one.
        if life == self._lives[index]:
            self._happened(events.NodeGone(index))

    def _collected(self, index: int, folder: Path) -> Path:
        """Give the folder a node brings its files to: node 0 the run's own, the others one to be merged from."""
        return folder if index == 0 else self._folder.brought(f"node-{index}") / folder.name

    def _place(self, index: int) -> Node:
        hello = self._hellos.get(index)
        share, slots = self._backend.share(index), self._slots[index]
        held = tuple(map(str, self._ports.get(index, ())))[1 if index == 0 else 0 :]
        return Node(
            index=index,
            node_id=f"node-{index}",
            host=hello.host if hello else socket.gethostname(),
            address=hello.address if hello else "127.0.0.1",
            slots=slots,
            cpus=share.cpus,
            python=share.python or self._order.python,
            gpus=share.gpus,
            shares_gpus=share.shares_gpus,
            numa=hello.numa if hello else self._numa,
            ports=held or (("{port}",) * slots if wants_ports(self._order.spec) else ()),
            data=str(self.folder(index).node_data(f"node-{index}")),
        )

    # --- what agents say ----------------------------------------------------------------------------

    def _connect(self, index: int, life: int, ready: Ready) -> None:
        if life != self._lives[index]:
            return
        self._recorder.node(index, agent_pid=ready.pid, keeper_pid=ready.keeper_pid, socket=ready.socket)
        try:
            channel = ready.connect(lambda data: self._hear(index, data), lambda: self._hung_up(index))
        except OSError as error:
            self._happened(events.NodeLost(index, f"cannot be reached: {error.strerror}"))
            return
        self._agents[index] = channel
        channel.send_line(encode(messages.pack(messages.CoordinatorHello(messages.PROTOCOL, self._order.run_id))))

    def _hung_up(self, index: int) -> None:
        # A released agent hangs up; whether its node is clean its keeper's end will say.
        if index not in self._released:
            self._happened(events.NodeLost(index, "was lost: its agent ended unexpectedly"))

    def _silent(self, index: int) -> None:
        what = "is stopped, or its machine hangs"
        self._happened(events.NodeLost(index, f"was lost: its agent does not answer any more (it {what})"))

    def _hear(self, index: int, data: dict[str, Any]) -> None:
        try:
            if index in self._apart and self._apart[index].takes(data):
                self._pulse.heard(index)
                return
            message = messages.unpack(messages.FromAgent, data)
        except ProtocolError as error:
            self._happened(events.NodeLost(index, f"cannot be understood: {error}"))
            return
        if index not in self._released:
            self._pulse.heard(index)
        match message:
            case messages.Pong(question):
                if question:
                    self._happened(events.NodeAnswered(index, question))
            case messages.AgentHello():
                self._hellos[index] = message
                self._has_doors = self._has_doors or message.door is not None
                self._recorder.node(index, host=message.host, ip=message.address)
                if message.root:
                    self._has_own_folder(index, message)
                self._happened(events.NodeUp(index, is_same_place=self._is_same_place(index, message)))
            case messages.Reached() if self._trials is not None:
                self._trials.heard(index, message)
            case messages.PortsReserved(ports):
                self._ports[index] = ports
                if self._awaited == {index}:
                    self._on_ports()
                self._awaited.discard(index)
            case messages.RemoteShell():
                self._reach(index, message)
            case messages.DaemonEnded(origin, call, status, signal_name):
                self.tell(origin, messages.RemoteShellEnded(call, status))
                if signal_name is not None:
                    # Its launcher may not notice for as long as the ranks have nothing to say to each other.
                    self._happened(events.LauncherExited(index, None, signal_name, is_daemon=True))
            case messages.Noticed(name, grace):
                self._happened(events.PreemptionNoticed(f"the agent of node-{index} got {name}", name, grace, index))
            case messages.Measured(row):
                self._recorder.measured(row)
            case messages.LogGrew(rank, size):
                self._on_log(rank, size)
            case messages.JobAsks():
                self._answer(index, message)
            case messages.Note(level, text):
                if text not in self._noted:
                    self._noted.add(text)
                    self._recorder.note(level, text)
            case _:
                self._happened(self._event(index, message))

    def _is_same_place(self, index: int, hello: messages.AgentHello) -> bool:
        before, self._places[index] = self._places.get(index), hello.place
        return before == hello.place != ""

    def _has_own_folder(self, index: int, hello: messages.AgentHello) -> None:
        if index in self._apart:
            self._apart[index].again()
            return
        from .apart import ApartNode  # Nodes that see the run folder have no use for it.

        self.has_new_places = True
        self._apart[index] = ApartNode(
            self._loop,
            self._folder,
            hello,
            self._lives[index],
            self._count,
            lambda line: self.tell_line(index, line),
            lambda text: self._recorder.note("warning", text),
            self._on_log,
            lambda reason: self._happened(events.NodeFailed(index, reason)),
            self._spreads(),
        )

    def _spreads(self) -> Spreading:
        if self._spreading is None:
            from .spreading import Spreading, credentials_of

            self._spreading = Spreading(
                credentials_of(self._order), self._count, lambda text: self._recorder.note("warning", text)
            )
        return self._spreading

    def _answer(self, index: int, question: messages.JobAsks) -> None:
        """Answer what a process of the job asks; most jobs ask nothing, and spare their coordinator the import."""
        if self._asked is None:
            from .asked import Asked

            self._asked = Asked(self._loop, self._order, self.tell)
        self._asked.take(index, question)

    def _reach(self, index: int, call: messages.RemoteShell) -> None:
        """Pass on what a node's launcher wants to run on another node."""
        target = _index_of(call.host)
        if target in self._agents:
            self.tell(target, messages.StartDaemon(index, call.call, call.line))
        else:
            self._recorder.note("warning", f"node-{index} wanted to reach {call.host!r}, which is no node of this run")
            self.tell(index, messages.RemoteShellEnded(call.call, 255))

    def _event(self, index: int, message: _Happened) -> events.Event:
        match message:
            case messages.Prepared():
                return events.NodePrepared(index)
            case messages.Failed(reason):
                return events.NodeFailed(index, reason)
            case messages.Started(rank, pid, given_rank):
                return events.ProcessStarted(rank, pid, given_rank)
            case messages.Exited(rank, exit_code, name, asked, at, circumstances):
                if circumstances is not None:
                    self.circumstances[rank] = circumstances
                same_clock = self._hellos[index].boot_id == self._boot_id != "unknown"
                return events.ProcessExited(rank, exit_code, name, asked, at if same_clock else time.monotonic())
            case messages.LauncherEnded(exit_code, name):
                return events.LauncherExited(index, exit_code, name)
            case messages.LauncherAsks():
                return events.LauncherAsks(index)
            case messages.Stopped(has_new_outputs):
                return events.NodeStopped(index, has_new_outputs)
            case messages.Collected():
                return events.NodeCollected(index)


def _index_of(node_id: str) -> int:
    """Give the number of a node; -1 where that is nobody's name."""
    number = node_id.removeprefix("node-")
    return int(number) if number.isdecimal() and node_id == f"node-{int(number)}" else -1
