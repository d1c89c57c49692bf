"""The agent of one node: does what the coordinator says, and tells it what happens.

It decides nothing about the run. It answers on a Unix socket, to the coordinator and to the rank
wrappers of its own node. When the coordinator is gone for longer than its lease, it ends everything.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regiment.jobs.dataclass import replace
from regiment.jobs.errors import ProtocolError
from regiment.jobs.ledger import LedgerRow, RowKind
from regiment.jobs.placement import Interface
from regiment.jobs.plain import from_plain

from . import messages, processes
from .asking import ASK, Asking
from .cgroups import NodeGroup
from .channel import Channel, accept, listen
from .config import NodeConfig
from .limits import raise_limits
from .loop import Loop
from .nodelog import Kind, NodeLog
from .patience import Patience
from .preloads import Preloads
from .programs import marks_path
from .ranks import Ranks
from .starts import Marks
from .workplace import Workplace

if TYPE_CHECKING:
    from .door import Listener
    from .ownfolder import OwnFolder
    from .warm import Warm

_FIRST_CALL_LIMIT = 30.0
"""Seconds the agent waits for its coordinator's first connection."""
_LAUNCHER_LIMIT = 5.0
"""Seconds a launcher may take to end after its last rank."""
_DRAIN_LIMIT = 5.0
"""Seconds the last lines may take to reach the log files."""
_CATCH_UP_LIMIT = 2.0
"""Seconds the last lines may take to the coordinator before it hears that all processes are dead."""
_KILL_LIMIT = 5.0
"""Seconds in which everything must be dead once the keeper is gone."""
_NO_VIEWS = (
    "read-only views of inputs need root or user namespaces, which are not to be had here; "
    "each node works with a copy without write permission"
)


def run_agent(
    plain_config: dict[str, Any], keeper: int, lifeline: int, group: NodeGroup, warm: Warm | None = None
) -> int:
    """Be a node's agent until released; gives the exit status.

    `lifeline` is a pipe that is at its end when the keeper is dead. `warm` is what this agent, which was one of the
    warm pool, has imported already.
    """
    config = from_plain(NodeConfig, plain_config)
    if config.environ is not None:
        os.environ.clear()
        os.environ.update(config.environ)
    trouble = None
    if config.sharing is not None:
        from .apart import settled  # Where it is certain that the run folder is shared, nobody has to find out.

        config, trouble = settled(config)
    if config.cpus:
        os.sched_setaffinity(0, config.cpus)
    processes.become_subreaper("regiment-agent")
    raise_limits()
    has_views = config.views and _enter_own_namespace(config)
    agent = Agent(config, keeper, listen(config.socket), has_views, group, warm, trouble)
    agent.loop.on_read(lifeline, agent.keeper_died)
    hello = {"socket": config.socket, "pid": os.getpid(), "keeperPid": keeper}
    os.write(1, json.dumps(hello).encode() + b"\n")
    # The keeper alone holds standard output from now on: its end says that the node is clean.
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(nothing, fd)
    return agent.run()


def _enter_own_namespace(config: NodeConfig) -> bool:
    """Make room for read-only views, while there is one thread only; later ones and all processes share it."""
    from .views import enter_own_namespace

    return enter_own_namespace(os.path.dirname(config.socket))


class Agent:
    """One node's agent."""

    def __init__(
        self,
        config: NodeConfig,
        keeper: int,
        listener: socket.socket,
        has_views: bool,
        group: NodeGroup,
        warm: Warm | None,
        trouble: str | None,
    ) -> None:
        """`trouble` is what keeps the node from being of any use."""
        self.loop = warm.loop if warm is not None else Loop()
        self._trouble = trouble
        self._config = config
        self._keeper = keeper
        self._group = group
        self._listener = listener
        self._coordinator: Channel | None = None
        self._lease_timer: int | None = self.loop.call_later(_FIRST_CALL_LIMIT, self._give_up_coordinator)
        self._log = NodeLog(config.node_id, self._log_trouble)
        self._preloads = warm.preloads if warm is not None else Preloads()
        self._ranks = self._new_ranks()
        self.asking = Asking(self.tell)
        self._has_views = has_views
        self._workplace = Workplace(config, self._log, has_views, self._warn)
        self._patience = Patience(self.loop, self._coordinator_silent, config.silence)
        self._marks: Marks | None = None
        self._held_ports: list[socket.socket] = []
        self._door: Listener | None = None
        self._exit_status = 0
        self._own_folder = self._make_own_folder() if config.root else None

    def _make_own_folder(self) -> OwnFolder:
        from .ownfolder import OwnFolder  # Nodes that see the run folder have no use for it.

        return OwnFolder(self.loop, self._config, self._send_line)

    def run(self) -> int:
        """Work until released."""
        self.loop.on_read(self._listener.fileno(), self._accept)
        self.loop.on_signal(signal.SIGCHLD, lambda: self._ranks.reap())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.loop.on_signal(number, self._told_to_end)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            self.loop.on_signal(number, self._notice(number))
        self.loop.run()
        return self._exit_status

    # --- connections --------------------------------------------------------------------------------

    def tell(self, message: messages.FromAgent) -> None:
        """Tell the coordinator, if it is there."""
        if self._coordinator is not None:
            self._coordinator.send(messages.pack(message))

    def _send_line(self, line: bytes) -> None:
        if self._coordinator is not None:
            self._coordinator.send_line(line)

    def _accept(self) -> None:
        connection = accept(self._listener)
        if connection is not None:
            _Caller(self, self._ranks, connection)

    def coordinator_called(self, channel: Channel, hello: messages.CoordinatorHello) -> None:
        """Take a connection for the coordinator's, and introduce ourselves."""
        self._end_lease_timer()
        self._patience.begin()
        self._coordinator = channel
        self.tell(
            messages.AgentHello(
                protocol=messages.PROTOCOL,
                node=self._config.node,
                pid=os.getpid(),
                keeper_pid=self._keeper,
                host=socket.gethostname(),
                address=self._config.address,
                cpus=tuple(sorted(os.sched_getaffinity(0))),
                numa=processes.numa_nodes(),
                boot_id=processes.boot_id(),
                door=self._open_door(),
                place=processes.place(),
                root=self._config.root,
                interfaces=self._interfaces(),
            )
        )
        if self._trouble is not None:
            self.tell(messages.Failed(self._trouble))
        if self._own_folder is not None:
            self._own_folder.connected()

    def _interfaces(self) -> tuple[Interface, ...]:
        if self._config.address.startswith("127."):
            return ()  # All nodes are this machine.
        from .interfaces import interfaces

        return interfaces()

    def _open_door(self) -> messages.Door | None:
        if self._config.address.startswith("127."):
            return None
        from .door import Listener

        try:
            self._door = self._door or Listener(self.loop)
        except OSError as error:
            self._warn(f"{self._config.node_id}: others cannot try whether they reach it: {error.strerror}")
            return None
        return self._door.door

    def coordinator_said(self, data: dict[str, Any]) -> None:
        """Do what a message of the coordinator's asks for."""
        self._patience.heard()
        try:
            if self._own_folder is not None and self._own_folder.takes(data):
                return
            message = messages.unpack(messages.ToAgent, data)
            _HANDLERS[type(message)](self, message)
        except (ProtocolError, OSError) as error:
            self.tell(messages.Failed(f"failed: {error}"))

    def coordinator_hung_up(self) -> None:
        """Give the coordinator its lease to come back in."""
        self._coordinator = None
        self._patience.end()
        self.asking.abandon()
        self._lease_timer = self.loop.call_later(self._config.lease, self._give_up_coordinator)

    def _end_lease_timer(self) -> None:
        if self._lease_timer is not None:
            self.loop.cancel(self._lease_timer)
            self._lease_timer = None

    # --- what the coordinator asks for --------------------------------------------------------------

    def reserve_ports(self, message: messages.ReservePorts) -> None:
        """Hold ports: bound but not listening, so that the job's processes can take them and plain binders cannot."""
        ports = []
        for held in self._held_ports:
            held.close()  # They were an earlier attempt's.
        self._held_ports = []
        for _ in range(message.count):
            holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("", 0))
            self._held_ports.append(holder)
            ports.append(holder.getsockname()[1])
        self.tell(messages.PortsReserved(tuple(ports)))

    def prepare(self, message: messages.Prepare) -> None:
        """Make the folders and bring the inputs; that may take long, so it has a thread of its own."""
        if self._config.views and not self._has_views:
            # In the same words from every node: the coordinator says them once.
            self.tell(messages.Note("info", _NO_VIEWS))

        before = self._ranks if self._workplace.order is not None else None
        if before is not None:
            self._ranks = self._new_ranks()
        ranks = self._ranks

        def done(reason: str | None) -> None:
            if self._ranks is ranks and not ranks.stopping:  # Else what comes of it is of no interest any more.
                if self._workplace.fetching is not None:
                    row = LedgerRow(self._config.node, RowKind.INPUTS, *self._workplace.fetching)
                    self.tell(messages.Measured(row))
                self.tell(messages.Prepared() if reason is None else messages.Failed(f"cannot prepare: {reason}"))

        def make() -> None:
            if before is not None:
                before.end_logs(_DRAIN_LIMIT)
            if message.gpus:
                from .drain import wait_for_memory  # It costs more to import than most agents have time for.

                self._say(wait_for_memory(message.gpus))
            self._workplace.make()

        self._workplace.take(message if self._own_folder is None else self._own_folder.with_inputs(message))
        self._in_thread(make, done)

    def _new_ranks(self) -> Ranks:
        """Give an attempt its own ranks: what is late of an earlier one's must not touch it, and nobody hears it."""

        def tell(message: messages.FromAgent) -> None:
            if self._own_folder is not None and isinstance(message, messages.LogGrew):
                self._own_folder.log_grew()  # Where it is to be read it has not grown yet.
            elif self._ranks is ranks:
                self.tell(message)

        ranks = Ranks(self.loop, self._config, self._keeper, self._group, self._preloads, self._log, tell)
        return ranks

    def start(self, message: messages.Start) -> None:
        """Start the processes in the folder that was made for them."""
        if self._door is not None:
            self._door.close()  # Whoever was to try it has.
        order = self._workplace.order
        if order is not None:
            os.chdir(order.working_folder)
            if self._marks is None:
                self._marks = Marks(self.loop, marks_path(self._config), lambda mark: self._ranks.starts.marked(mark))
            environ = {**message.shared_environ, **message.plan.environ}
            self._ranks.start(replace(message, plan=replace(message.plan, environ=environ)), Path(order.logs))

    def start_daemon(self, message: messages.StartDaemon) -> None:
        """Run what the launcher on another node wants to run here."""
        self._ranks.start_daemon(message)

    def remote_shell_ended(self, message: messages.RemoteShellEnded) -> None:
        """Tell one of our launcher's remote shells how it went."""
        self._ranks.launchers.remote_shell_ended(message)

    def job_answer(self, message: messages.JobAnswer) -> None:
        """Hand the coordinator's answer to the process that asked."""
        self.asking.answered(message)

    def stop(self, message: messages.Stop) -> None:
        """End the processes and report when nothing of them is left."""
        self._workplace.abandon()
        ranks = self._ranks
        ranks.when_clean(lambda: self._stopped(ranks))
        ranks.stop(message.grace)

    def notify(self, message: messages.Notify) -> None:
        """Tell the processes that the node will be taken away."""
        self._ranks.notify(message)

    def _stopped(self, ranks: Ranks) -> None:
        found: list[bool] = []

        def done(reason: str | None) -> None:
            if self._ranks is ranks:
                self.tell(messages.Stopped(any(found)))

        def look() -> None:
            if self._own_folder is not None:
                ranks.wait_for_logs(_CATCH_UP_LIMIT)
                self._own_folder.catch_up(_CATCH_UP_LIMIT)
            found.append(self._workplace.has_new_outputs())

        if self._workplace.looks_at_outputs or self._own_folder is not None:
            self._in_thread(look, done)
        else:
            done(None)

    def collect(self, message: messages.Collect) -> None:
        """Bring in what the job wrote, once nothing of it can write any more."""

        def done(reason: str | None) -> None:
            if reason is not None:
                self.tell(messages.Failed(f"cannot collect what the job wrote: {reason}"))
            self.tell(messages.Collected())

        self._preloads.end()
        self._ranks.when_clean(lambda: self._in_thread(self._bring_in, done))
        self._ranks.end_launchers(_LAUNCHER_LIMIT)

    def ping(self, message: messages.Ping) -> None:
        """Give a sign of life."""
        self.tell(messages.Pong(message.question))

    def try_addresses(self, message: messages.TryAddresses) -> None:
        """Try at which addresses other nodes can be reached."""
        from .door import Trial

        Trial(self.loop, message, self.tell)

    def let_start(self, message: messages.LetStart) -> None:
        """Start what our elastic launcher has asked to."""
        self._ranks.let_start()

    def meet_again(self, message: messages.MeetAgain) -> None:
        """Have our elastic launcher meet the others again."""
        self._ranks.end_one()

    def release(self, message: messages.Release) -> None:
        """Go."""
        if self._own_folder is not None:
            self._in_thread(self._own_folder.remove, lambda reason: self.loop.stop())
        else:
            self.loop.stop()

    def _bring_in(self) -> None:
        if not self._ranks.wait_for_logs(_DRAIN_LIMIT):
            self._log.write(Kind.JOB_POST, "some output had not reached its log in time")
        self._workplace.bring_in()
        if self._own_folder is not None:
            self._say(self._own_folder.finish())

    def _in_thread(self, work: Callable[[], None], done: Callable[[str | None], None]) -> None:
        """Work without holding up the loop, then call `done` from it with what went wrong, or None."""

        def job() -> None:
            try:
                work()
                reason = None
            except OSError as error:
                reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            except Exception as error:  # noqa: BLE001  (the run would wait for ever for a thread that ends in silence)
                reason = f"internal error: {type(error).__name__}: {error}; please report it"
            self.loop.post(lambda: done(reason))

        threading.Thread(target=job, daemon=True).start()

    # --- trouble ------------------------------------------------------------------------------------

    def keeper_died(self) -> None:
        """End everything at once: nobody would clean up after us any more."""
        self._group.kill_others()
        processes.kill_all(self._config.tag, os.getpid(), (), _KILL_LIMIT)
        self._exit_status = 3
        self.loop.stop()

    def _told_to_end(self) -> None:
        self.tell(messages.Failed("failed: its agent was told to end by a signal"))

    def _coordinator_silent(self) -> None:
        """Hang up on a coordinator that has said nothing for long; it may find that out later, or never."""
        if self._coordinator is not None:
            self._coordinator.close()
            self.coordinator_hung_up()

    def _notice(self, number: signal.Signals) -> Callable[[], None]:
        return lambda: self.tell(messages.Noticed(number.name))

    def _give_up_coordinator(self) -> None:
        """End everything, but save what the job wrote, although nobody waits for it any more."""
        self._lease_timer = None
        self._exit_status = 3
        if self._own_folder is not None:
            self._own_folder.abandon()
        self._log.write(Kind.EXECUTION, "the coordinator is gone and has not come back in time")
        self._workplace.abandon()
        self._preloads.end()
        self._ranks.when_clean(lambda: self._in_thread(self._bring_in_alone, lambda reason: self.loop.stop()))
        self._ranks.stop(self._config.last_grace)

    def _bring_in_alone(self) -> None:
        self._bring_in()
        self._workplace.put_away()

    def _say(self, text: str | None) -> None:
        if text is not None:
            self._log_trouble(text)

    def _log_trouble(self, text: str) -> None:
        self._warn(f"{self._config.node_id}: {text}")

    def _warn(self, text: str) -> None:
        self.loop.post(lambda: self.tell(messages.Note("warning", text)))


class _Caller:
    """A new connection: finds out from its first message who it is, and hands it on."""

    def __init__(self, agent: Agent, ranks: Ranks, connection: socket.socket) -> None:
        self._agent = agent
        self._ranks = ranks
        self._on_message: Callable[[dict[str, Any]], None] | None = None
        self._on_close: Callable[[], None] | None = None
        self._channel = Channel(agent.loop, connection, self._message, self._close)

    def _message(self, data: dict[str, Any]) -> None:
        if self._on_message is not None:
            self._on_message(data)
            return
        try:
            self._introduced(data)
        except ProtocolError:
            self._channel.close()

    def _introduced(self, data: dict[str, Any]) -> None:
        if data.get("type") == "wrapper" and self._ranks.wrapper_called(self._channel, data):
            self._on_message = lambda message: self._ranks.wrapper_said(self._channel, message)
            self._on_close = lambda: self._ranks.wrapper_hung_up(self._channel)
        elif data.get("type") == "standIn" and self._ranks.stand_in_called(self._channel, data):
            self._on_message = lambda message: self._ranks.wrapper_said(self._channel, message)
            self._on_close = lambda: self._ranks.stand_in_hung_up(self._channel)
        elif data.get("type") == "remoteShell":
            self._on_close = self._ranks.launchers.remote_shell_called(self._channel, data)
            self._on_message = lambda message: None
        elif data.get("type") == ASK:
            self._on_close = self._agent.asking.called(self._channel, data)
            self._on_message = lambda message: None
        elif data.get("type") == "coordinatorHello" and data.get("protocol") == messages.PROTOCOL:
            self._on_message = self._agent.coordinator_said
            self._on_close = self._agent.coordinator_hung_up
            self._agent.coordinator_called(self._channel, messages.unpack(messages.CoordinatorHello, data))
        else:
            self._channel.close()

    def _close(self) -> None:
        if self._on_close is not None:
            self._on_close()


_HANDLERS: dict[type[Any], Callable[[Agent, Any], None]] = {
    messages.ReservePorts: Agent.reserve_ports,
    messages.Prepare: Agent.prepare,
    messages.Start: Agent.start,
    messages.StartDaemon: Agent.start_daemon,
    messages.RemoteShellEnded: Agent.remote_shell_ended,
    messages.JobAnswer: Agent.job_answer,
    messages.Stop: Agent.stop,
    messages.Notify: Agent.notify,
    messages.Collect: Agent.collect,
    messages.Ping: Agent.ping,
    messages.TryAddresses: Agent.try_addresses,
    messages.LetStart: Agent.let_start,
    messages.MeetAgain: Agent.meet_again,
    messages.Release: Agent.release,
}
