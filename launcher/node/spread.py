"""A node's part in spreading the snapshot, from its agent's side: the coordinator tells it to give and to get."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from regiment.jobs.plain import to_plain

from .channel import encode
from .contentcache import ContentCache
from .loop import Loop
from .parts import Form
from .passing import GetFrom, Give, Giving
from .receiving import Receiver

if TYPE_CHECKING:
    from ..join.giving import Stall

_END_LIMIT = 12.0
"""Seconds that a transfer may take to notice that it is not wanted any more: the other side may be silent so long."""


class Spread:
    """Gives and gets in threads, and tells what came of it."""

    def __init__(
        self,
        loop: Loop,
        folder: Path,
        address: str,
        cache: ContentCache,
        base_of: Callable[[Form, tuple[str, ...]], int | None],
        send_line: Callable[[bytes], None],
    ) -> None:
        """`folder` is the run folder as the node has it, `address` the node's own; `base_of` as a receiver wants it."""
        self._loop = loop
        self._folder = folder
        self._address = address
        self._cache = cache
        self._base_of = base_of
        self._send_line = send_line
        self._stall: Stall | None = None
        self._getting: threading.Thread | None = None
        self._is_ended = False

    def give(self, order: Give) -> None:
        """Let other nodes have what is here."""
        if self._stall is None:
            from ..join.giving import Stall  # Most runs have few nodes, and spare them TLS.

            try:
                self._stall = Stall(self._folder, self._address, order.credentials)
            except OSError as error:
                self._send_line(encode(to_plain(Giving(0, str(error.strerror or error)))))
                return
        self._send_line(encode(to_plain(Giving(self._stall.port))))

    def get(self, way: GetFrom, wanted: Mapping[str, str]) -> None:
        """Get from another node what is wanted here, files with their hashes."""
        self._getting = threading.Thread(target=self._get, args=(way, dict(wanted)), name="getting", daemon=True)
        self._getting.start()

    def end(self) -> None:
        """Give and get no more; may be called from any thread."""
        self._is_ended = True
        if self._stall is not None:
            self._stall.close()
        if self._getting is not None:
            self._getting.join(_END_LIMIT)

    def _get(self, way: GetFrom, wanted: dict[str, str]) -> None:
        from ..join.giving import get_from

        receiver = Receiver(self._folder, self._base_of, cache=self._cache)
        receiver.asked_for.update(wanted)
        got = get_from(way, wanted, receiver, lambda: not self._is_ended)
        receiver.discard()
        self._loop.post(lambda: self._send_line(encode(to_plain(got))))
