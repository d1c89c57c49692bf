"""Mutual proof that both ends of a connection hold the run's key, before either believes a word of the other.

Three lines of JSON, with no socket in them, so that any stream can carry them::

    coordinator -> agent   {"protocol": 1, "nonce": N}
    agent -> coordinator   {"protocol": 1, "nonce": M, "rank": R, "proof": P}
    coordinator -> agent   {"protocol": 1, "proof": Q}

P and Q are HMAC-SHA256 under the key over the role, the protocol, both nonces, the node rank and the fingerprint of
the coordinator's certificate. The roles differ, so a proof sent back to where it came from is worth nothing. Both
nonces are fresh, so a recorded one is worth nothing either; nor is one made for another certificate,
so nobody can stand between the two.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from typing import Any

from regiment.jobs.dataclass import dataclass

from .channel import encode

PROTOCOL = 1
"""Version of these three lines."""
MAX_LINE = 4096
"""Bytes a line may have from somebody who hasn't proven anything yet."""
MAX_RANK = 1_000_000
"""No cluster has as many nodes; a larger node rank is no number of ours."""
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Unproven(Exception):
    """The other side has not shown that it holds the run's key; the message says what was wrong, for the log."""


@dataclass(frozen=True)
class Proven:
    """An agent that holds the key."""

    rank: int
    """The node rank that it proved; nobody on the way could have changed it."""
    answer: bytes
    """The line that proves the coordinator to it."""


class CoordinatorProof:
    """The side that agents dial; good for one connection and one answer."""

    def __init__(self, key: bytes, fingerprint: bytes) -> None:
        self._key = key
        self._fingerprint = fingerprint
        self._nonce: str | None = secrets.token_hex(32)
        self.hello = encode({"protocol": PROTOCOL, "nonce": self._nonce})

    def check(self, line: bytes) -> Proven:
        """Check the agent's line.

        Raises:
            Unproven: it proves nothing; the connection must be dropped.
        """
        # Taken out first: a connection has one guess, right or wrong.
        nonce, self._nonce = self._nonce, None
        if nonce is None:
            raise Unproven("a second answer to one nonce")
        words = _read(line, {"protocol", "nonce", "rank", "proof"})
        rank = words["rank"]
        if type(rank) is not int or not 0 <= rank < MAX_RANK:
            raise Unproven("no node rank")
        theirs = _hex(words, "nonce")
        seen = _Seen(nonce, theirs, rank, self._fingerprint)
        _compare(_hex(words, "proof"), seen.proof(self._key, "agent"))
        return Proven(rank, encode({"protocol": PROTOCOL, "proof": seen.proof(self._key, "coordinator")}))


class AgentProof:
    """The side that dials, and proves itself first: with a key of 256 bits, its proof tells a stranger nothing."""

    def __init__(self, key: bytes, fingerprint: bytes, rank: int) -> None:
        self._key = key
        self._fingerprint = fingerprint
        self._rank = rank
        self._seen: _Seen | None = None

    def answer(self, line: bytes) -> bytes:
        """Give the line that answers the coordinator's hello.

        Raises:
            Unproven: it is no hello; the connection must be dropped.
        """
        if self._seen is not None:
            raise Unproven("a second hello on one connection")
        words = _read(line, {"protocol", "nonce"})
        nonce = secrets.token_hex(32)
        self._seen = _Seen(_hex(words, "nonce"), nonce, self._rank, self._fingerprint)
        proof = self._seen.proof(self._key, "agent")
        return encode({"protocol": PROTOCOL, "nonce": nonce, "rank": self._rank, "proof": proof})

    def check(self, line: bytes) -> None:
        """Check the coordinator's last line; what comes after it can be believed.

        Raises:
            Unproven: who answered does not hold the key; the connection must be dropped.
        """
        if self._seen is None:
            raise Unproven("a proof before the hello")
        words = _read(line, {"protocol", "proof"})
        _compare(_hex(words, "proof"), self._seen.proof(self._key, "coordinator"))


@dataclass(frozen=True)
class _Seen:
    """What both sides have seen of one connection."""

    coordinator_nonce: str
    agent_nonce: str
    rank: int
    fingerprint: bytes

    def proof(self, key: bytes, role: str) -> str:
        # Every field is of a fixed form without spaces, so no two connections give the same text.
        words = (
            "regiment",
            PROTOCOL,
            role,
            self.coordinator_nonce,
            self.agent_nonce,
            self.rank,
            self.fingerprint.hex(),
        )
        return hmac.digest(key, " ".join(map(str, words)).encode(), "sha256").hex()


def _read(line: bytes, names: set[str]) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise Unproven(f"a line of more than {MAX_LINE} bytes")
    try:
        words = json.loads(line)
    except (ValueError, RecursionError):
        raise Unproven("a line that is no message") from None
    if not isinstance(words, dict):
        raise Unproven("a line that is no message")
    # Before the names: another version may have others, and its user should read that it is another version.
    if type(words.get("protocol")) is not int or words["protocol"] != PROTOCOL:
        raise Unproven(f"another protocol than {PROTOCOL}; use the same Regiment on all nodes")
    if words.keys() != names:
        raise Unproven("a message of another kind")
    return words


def _hex(words: dict[str, Any], name: str) -> str:
    value = words[name]
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise Unproven(f"a {name} that is none")
    return value


def _compare(theirs: str, ours: str) -> None:
    if not hmac.compare_digest(theirs, ours):
        raise Unproven("a wrong key, or somebody between the two")
