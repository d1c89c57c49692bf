"""Why a host could not be reached, with the next step: read from what ssh and the host's shell have said."""

from __future__ import annotations

import re

from regiment.jobs.dataclass import dataclass


@dataclass(frozen=True)
class Failure:
    """What went wrong on the way to a host."""

    reason: str
    """Follows the host's name."""
    may_pass: bool = False
    """Whether trying again may help."""


@dataclass(frozen=True)
class _Rule:
    pattern: str
    reason: str
    may_pass: bool = False


_RULES = (
    _Rule(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "has another host key than the one that is known; find out why, then remove the old one: ssh-keygen -R {host}",
    ),
    _Rule(
        r"Host key verification failed|No \S+ host key is known",
        "has a host key that is not known here; connect once by hand and compare it: ssh {host}",
    ),
    _Rule(
        r"Permission denied \((?P<methods>[^)]*)\)",
        "lets nobody in without a password, or not this user ({methods}); give it your key (ssh-copy-id {host}), or "
        "load the key's passphrase with ssh-add",
    ),
    _Rule(r"Too many authentication failures", "refused all keys that were tried; name one with IdentityFile"),
    _Rule(r"Could not resolve hostname|Name or service not known", "is no name that is known here; correct it"),
    _Rule(r"No route to host", "cannot be reached: no route to it; see that it is up, and in this network"),
    _Rule(r"Network is unreachable", "cannot be reached: there is no network that it is in"),
    _Rule(r"Connection refused", "refuses connections: no sshd listens there; start it, or correct the port"),
    _Rule(r"[Cc]onnect\w* .*timed out|Connection timed out|Operation timed out", "does not answer; see that it is up"),
    _Rule(
        r"regiment: Python (?P<version>\S+) is too old",
        "has Python {version} as {python}, and Regiment needs 3.10 or newer; name another one with --python",
    ),
    _Rule(
        r"exec: .*not found|: (?:command )?not found|: No such file or directory|: cannot execute|Unknown command",
        "has no Python at {python}; install it there, or name the one that it has with --python",
    ),
    _Rule(r"regiment: (?P<rest>.+)", "cannot be used: {rest}"),
    _Rule(
        r"kex_exchange_identification|Connection closed by (?!authenticating)|Connection reset|Broken pipe|"
        r"ssh_exchange_identification",
        "hung up ({last}); its sshd may take no more connections at once (MaxStartups)",
        may_pass=True,
    ),
    _Rule(r"hostname contains invalid characters", "is no host name; correct it"),
)


def failure(said: str, host: str, python: str) -> Failure:
    """Read what was said on the way to a host that was not reached."""
    lines = [line.strip() for line in said.splitlines()]
    spoken = [line for line in lines if line and not line.startswith(("debug", "OpenSSH_", "Authenticated to"))]
    text = "\n".join(spoken)
    last = spoken[-1] if spoken else "it said nothing"
    for rule in _RULES:
        found = re.search(rule.pattern, text)
        if found is not None:
            words = {**found.groupdict(), "host": host, "python": python, "last": last}
            return Failure(rule.reason.format_map(words), rule.may_pass)
    return Failure(f"cannot be used: {last}")


def phase(said: str) -> str:
    """Say what a call waits for, from what its ssh has said so far."""
    for sign, word in _PHASES:
        if sign in said:
            return word
    return CONNECTING


CONNECTING = "connecting"
_PHASES = (
    ("Authenticated to", "starting Python"),
    ("debug1: Authenticating to", "auth"),
    ("debug1: Connection established", "auth"),
    ("debug1: Executing proxy command", "jump host"),
)
