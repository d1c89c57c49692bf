"""Where node 0 listens: on the interface that faces its peers, and on no other where that can be known."""

from __future__ import annotations

import errno
import ipaddress
import socket

from regiment.distribution.places.place import Place
from regiment.jobs.errors import UserError

_QUEUE = 4096
"""Connections that may wait to be taken; thousands of agents dial at once."""
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def listen(place: Place) -> tuple[socket.socket, str]:
    """Listen for the other nodes; gives the socket, and node 0's address for its peers."""
    facing = _facing(place)
    if facing is not None:
        listener = _bound(str(facing), place)
        if listener is not None:
            return listener, str(facing)
    # A name or an address that others know this machine by, and it does not: a service's, or a router's.
    for every in ("::", "0.0.0.0"):
        listener = _bound(every, place) if every != "::" or socket.has_dualstack_ipv6() else None
        if listener is not None:
            return listener, place.host
    raise UserError(f"this machine has no address to listen at for {place.master}, not even a local one")


def _facing(place: Place) -> _Address | None:
    """Give the address that peers reach this machine at; None where only they know."""
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise UserError(
            f"node 0's own name, {place.host}, is not known here: {error.strerror}; see 'regiment agent --explain'"
        ) from None
    address = ipaddress.ip_address(str(found[0][4][0]).partition("%")[0])
    # Many machines have their own name for 127.0.1.1, which leads every other machine to itself.
    if address.is_loopback and not _is_literal(place.host) and place.host != "localhost":
        return None
    return address


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bound(address: str, place: Place) -> socket.socket | None:
    """Listen there; None where that is no address of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server(
            (address, place.port), family=family, backlog=_QUEUE, dualstack_ipv6=address == "::"
        )
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        why = (
            "another process listens there, maybe a second node 0"
            if error.errno == errno.EADDRINUSE
            else error.strerror
        )
        raise UserError(
            f"node 0 cannot listen at {address} port {place.port}: {why}; another port can be set with REGIMENT_MASTER"
        ) from None
