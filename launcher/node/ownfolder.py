"""What an agent has besides where its node does not see the run folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regiment.jobs.dataclass import replace
from regiment.jobs.plain import to_plain

from . import messages, scratch
from .apart import own_folder
from .channel import encode
from .config import NodeConfig
from .contentcache import ContentCache
from .loop import Loop
from .mirror import Abandoned, Mirror
from .parts import Form, Part, Taken
from .passing import GetFrom, Give
from .receiving import Receiver
from .spread import Spread


class OwnFolder:
    """The node's own run folder, and the way between it and the coordinator's."""

    def __init__(self, loop: Loop, config: NodeConfig, send_line: Callable[[bytes], None]) -> None:
        assert config.sharing is not None
        self._loop = loop
        self._config = config
        self._send_line = send_line
        self._folder = folder = own_folder(config.root, config.sharing.life).root
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._cache = ContentCache(f"{os.path.dirname(os.path.dirname(config.root))}/cache")
        self._receiver = Receiver(folder, base_of, cache=self._cache)
        self._spread = Spread(loop, folder, config.address, self._cache, base_of, send_line)
        self._mirror = Mirror(loop, folder, send_line)
        self._is_due = False
        self._is_kept = False

    # --- called from the loop -----------------------------------------------------------------------

    def connected(self) -> None:
        """Go on where the last connection was lost."""
        self._mirror.connected()

    def takes(self, data: dict[str, Any]) -> bool:
        """Take a message, if it is about what is carried; raises ProtocolError if it is a bad one."""
        match data.get("type"):
            case "taken":
                self._mirror.take(messages.unpack(Taken, data))
            case "part":
                self._receiver.take(messages.unpack(Part, data))
                if not self._is_due:
                    self._is_due = True
                    self._loop.post(self._say_taken)
            case "give":
                self._spread.give(messages.unpack(Give, data))
            case "getFrom":
                self._spread.get(messages.unpack(GetFrom, data), self._receiver.asked_for)
            case _:
                return False
        return True

    def with_inputs(self, order: messages.Prepare) -> messages.Prepare:
        """Give the order with inputs from where they are on this node."""
        plan = order.plan
        if plan is None:
            return order
        sent = [sent_input(self._folder / "inputs" / str(i), item.is_file) for i, item in enumerate(plan.data.inputs)]
        inputs = (
            item if path is None else replace(item, source=path)
            for item, path in zip(plan.data.inputs, sent, strict=True)
        )
        return replace(order, plan=replace(plan, data=replace(plan.data, inputs=tuple(inputs))))

    def log_grew(self) -> None:
        """Carry soon what a process has printed."""
        self._mirror.look_soon()

    def abandon(self) -> None:
        """Let nobody wait for the coordinator any more; what is here stays."""
        self._is_kept = True
        self._mirror.abandon()

    # --- called from threads ------------------------------------------------------------------------

    def catch_up(self, seconds: float) -> None:
        """Wait, no longer than that, until all logs have been sent as they are now."""
        self._mirror.catch_up(seconds)

    def finish(self) -> str | None:
        """Carry everything that is left, and wait for its end; gives what to say of what could not be carried."""
        config = self._config
        try:
            problems = self._mirror.finish(
                Path(config.outputs), Path(config.logs), logs_were_live=config.logs == config.live_logs
            )
        except Abandoned:
            return None
        if not problems:
            # Now, for it may be a million files, and a node that is released has to be gone in seconds.
            scratch.remove(config.outputs)
            return None
        self._is_kept = True
        return (
            f"some of what was written could not be brought to the run folder and stays in {config.root}; {problems[0]}"
        )

    def remove(self) -> None:
        """Take the node's folder away, unless something in it is nowhere else."""
        self._mirror.abandon()
        self._spread.end()
        self._cache.tidy()
        if not self._is_kept:
            scratch.remove(self._config.root)
            scratch.remove_if_empty(os.path.dirname(self._config.root))

    def _say_taken(self) -> None:
        self._is_due = False
        receiver = self._receiver
        self._send_line(encode(to_plain(Taken(receiver.taken, receiver.problems(), receiver.missing()))))


def base_of(form: Form, names: tuple[str, ...]) -> int | None:
    """Say which of the coordinator's files may be written: those of the snapshot, and of inputs."""
    base = {"code": 1, "inputs": 2}.get(names[0])
    return base if base is not None and len(names) >= base and form not in (Form.GROWN, Form.GONE) else None


def sent_input(folder: Path, is_file: bool) -> str | None:
    """Give where an input is that was sent."""
    if not folder.is_dir():
        return None
    return str(next(folder.iterdir())) if is_file else str(folder)
