"""The network interface that a node's peers see, for libraries that would have to guess it."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import MutableMapping

GLOO = "GLOO_SOCKET_IFNAME"
"""Without it gloo takes what the machine's own name leads to, which on many machines is 127.0.1.1, or nothing."""
_GET_ADDRESS = 0x8915
"""SIOCGIFADDR of <linux/sockios.h>."""


def name_interface(address: str, environ: MutableMapping[str, str]) -> None:
    """Tell the processes of the job which interface faces node 0, unless somebody has told them another."""
    if GLOO not in environ and not address.startswith("127."):
        name = interface_of(address)
        if name is not None:
            environ[GLOO] = name


def interface_of(address: str) -> str | None:
    """Give the interface that has that IPv4 address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe, _GET_ADDRESS, request)
            except OSError:
                continue  # It has none.
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
