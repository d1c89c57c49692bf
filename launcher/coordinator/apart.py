"""The nodes that do not see the run folder: what they write comes in parts, and is written down here for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from regiment.jobs.plain import to_plain
from regiment.jobs.workspace import RunFolder

from ..node import messages
from ..node.apart import own_folder
from ..node.channel import encode
from ..node.loop import Loop
from ..node.parts import Form, Outflow, Part, Taken
from ..node.passing import GetFrom, Give, Giving, Got
from ..node.receiving import Receiver
from .provisions import Found, Provisions
from .spreading import Spreading

_OWN_LOG = re.compile(r"\d\d_[\w.-]+\.txt")
_RANK_LOG = re.compile(r"attempts/\d+/azureml-logs/(?:[\w.-]+/)?70_driver_log(?:_(\d+))?\.txt")
_LIVE = frozenset({Form.GROWN, Form.GONE})
_FINAL = frozenset({Form.WHOLE, Form.LINK, Form.FOLDER})


class ApartNode:
    """One node, in one of its lives."""

    def __init__(
        self,
        loop: Loop,
        folder: RunFolder,
        hello: messages.AgentHello,
        life: int,
        count: int,
        send_line: Callable[[bytes], None],
        note: Callable[[str], None],
        on_log: Callable[[int, int], None],
        on_failure: Callable[[str], None],
        spreading: Spreading,
    ) -> None:
        """Serve a node that has said hello.

        `note` hears what a person should know, `on_log` the size that a rank's log has grown to here, `on_failure`
        why the node is of no use.
        """
        self._spreading = spreading
        self._gets_from_others = False
        self._held: list[str] = []
        """What it lacks and gets from another node."""
        self._is_getting = False
        self._run_folder = folder
        self._on_failure = on_failure
        self._provisions: Provisions | None = None
        self._outflow = Outflow(send_line)
        self._source: Iterator[Part] = iter(())
        self._then: Callable[[], None] | None = None
        self.folder = own_folder(hello.root, life)
        """The run folder as the node has it."""
        self._loop = loop
        self.rank, self.name, self.address = hello.node, f"node-{hello.node}", hello.address
        self._host = hello.host
        self._root = hello.root
        self._send_line = send_line
        self._note = note
        self._on_log = on_log
        bases = _bases(hello.node, self.name, count)
        self.receiver = Receiver(folder.root, lambda form, names: _base_of(bases, form, names), keeps="attempts/")
        self._is_due = False
        self._is_told = False
        self._has_all = False

    def takes(self, data: dict[str, Any]) -> bool:
        """Take a message, if it is about what is carried; raises ProtocolError if it is a bad one."""
        match data.get("type"):
            case "part":
                self._take(messages.unpack(Part, data))
            case "taken":
                self._went(messages.unpack(Taken, data))
            case "giving":
                self._spreading.gives(self, messages.unpack(Giving, data))
            case "got":
                self._got(messages.unpack(Got, data))
            case "collected":
                self._has_all = True
                self._say_dropped()
                return False
            case _:
                return False
        return True

    def again(self) -> None:
        """Send once more what has not been taken: the connection is a new one."""
        self._outflow.again()

    def _take(self, part: Part) -> None:
        if self.receiver.take(part) and part.form is Form.GROWN:
            rank_log = _RANK_LOG.fullmatch(part.path)
            if rank_log is not None:
                self._on_log(int(rank_log[1] or 0), self.receiver.size_of(part.path))
        if not self._is_due:
            self._is_due = True
            self._loop.post(self._say_taken)

    def provide(self, provisions: Provisions, then: Callable[[], None]) -> None:
        """Send what the node lacks of the snapshot and of inputs, and go on once it has it all."""
        self._then = then
        if self._provisions is None:
            self._provisions = provisions
            provisions.tell(self._begin)
        else:
            self._send_more()

    def provide_no_more(self) -> None:
        """Send no more: the run is being stopped."""
        self._source = iter(())
        self._then = None

    def say(self, message: Give | GetFrom) -> None:
        """Tell the node's agent from where the snapshot comes, or that others come for it."""
        self._send_line(encode(to_plain(message)))

    def get_from_here(self) -> None:
        """Send what it has waited for to get from another node."""
        held, self._held = self._held, []
        self._is_getting = False
        if self._then is not None and self._provisions is not None:
            self._source = chain(self._source, self._provisions.contents(tuple(held)))
            self._send_more()

    def _got(self, message: Got) -> None:
        if self._then is None:
            return  # The run is being stopped.
        asked = frozenset(self._held)
        self._held = [path for path in message.missing if path in asked]
        if self._held:
            self._spreading.failed(self, message.reason, len(self._held))
        self.get_from_here()

    def _begin(self, found: Found) -> None:
        parts, problem = found
        if problem is not None:
            self._on_failure(f"the job's files cannot be read: {problem}")
        elif self._then is not None:
            size = sum(part.offset for part in parts if part.form is Form.KNOWN)
            self._gets_from_others = self._spreading.takes(self, size)
            self._source = iter(parts)
            self._send_more()

    def _went(self, message: Taken) -> None:
        self._outflow.taken(message.number)
        if message.problems:
            self._on_failure(f"the job's files could not be written on {self._host}: {message.problems[0]}")
            self.provide_no_more()
        if self._then is not None and self._provisions is not None:
            from_others = {path for path in message.missing if self._gets_from_others and path.startswith("code/")}
            self._held += sorted(from_others)
            rest = tuple(path for path in message.missing if path not in from_others)
            self._source = chain(self._source, self._provisions.contents(rest))
            self._send_more()

    def _send_more(self) -> None:
        try:
            while self._outflow.has_room and (part := next(self._source, None)) is not None:
                self._outflow.add(to_plain(part))
        except OSError as error:
            self._on_failure(f"the job's files cannot be read: {error}")
            self.provide_no_more()
        self._outflow.flush()
        if not self._outflow.is_empty or self._then is None or self._is_getting:
            return
        if self._held:
            self._is_getting = True
            self._spreading.wants(self)
            return
        then, self._then = self._then, None
        then()
        self._spreading.has_all(self)

    def end(self) -> None:
        """Say what is missing, if something may be: the node is lost."""
        self._spreading.lost(self)
        self.receiver.end()
        if self._has_all or not self.receiver.taken:
            return
        partial = f", one in part ({self.receiver.partial})" if self.receiver.partial else ""
        self._note(
            f"{self.name} was lost before all that it wrote had come: of its files {self.receiver.files} whole"
            f"{partial}; what is left of the rest is in {self._root} on {self._host}"
        )

    def _say_dropped(self) -> None:
        if self.receiver.dropped:
            self._note(f"{self.receiver.dropped} bytes of the logs of {self.name} were not kept")

    def _say_taken(self) -> None:
        self._is_due = False
        problems = self.receiver.problems()
        if problems and not self._is_told:
            self._is_told = True
            self._note(f"{self.name}: not all that it wrote could be kept; {problems[0]}")
        self._send_line(encode(to_plain(Taken(self.receiver.taken, problems))))


def _bases(index: int, node_id: str, count: int) -> tuple[tuple[frozenset[Form], tuple[str, ...]], ...]:
    """Give the folders that a node may write in, and what; the names of its own logs are looked at besides."""
    brought = () if index == 0 else ("collected", node_id)
    live = ("logs",) if index == 0 else ("logs", node_id)
    logs = ("attempts", "", "azureml-logs")
    own_logs = logs if count == 1 else (*logs, node_id)
    return (
        (_LIVE, own_logs),
        *(((_LIVE, logs),) if index == 0 and count > 1 else ()),  # That of mpirun, which node 0 starts for all.
        (_LIVE, live),
        (_LIVE, ("metrics",)),
        (_FINAL, (*brought, "outputs")),
        (_FINAL, (*brought, "logs")),
    )


def _base_of(
    bases: tuple[tuple[frozenset[Form], tuple[str, ...]], ...], form: Form, names: tuple[str, ...]
) -> int | None:
    for forms, base in bases:
        size = len(base)
        if form in forms and len(names) >= size and all(b in ("", n) for b, n in zip(base, names, strict=False)):
            if _is_ours(names, size) or (len(names) == size and form is not Form.FOLDER):
                continue
            return size
    return None


def _is_ours(names: tuple[str, ...], size: int) -> bool:
    """Say whether a path is the coordinator's own, though it is among what nodes write."""
    if names[0] == "attempts":
        return not names[1].isdecimal() or len(names) != size + 1 or _OWN_LOG.fullmatch(names[-1]) is None
    return names[:2] == ("logs", "azureml") or (names[0] == "metrics" and len(names) != size + 1)
