"""The addresses of this machine, from the kernel itself: neither `ip` nor a name that resolves is needed."""

from __future__ import annotations

import fcntl
import socket
import struct

from regiment.jobs.placement import Interface

# From <linux/rtnetlink.h>, <linux/netlink.h> and <linux/if_addr.h>.
_GET_ADDRESSES, _NEW_ADDRESS = 22, 20
_REQUEST, _DUMP = 0x1, 0x300
_DONE, _ERROR = 3, 2
_ADDRESS, _LOCAL = 1, 2
_HOST_SCOPE, _LINK_SCOPE = 254, 253
_TEMPORARY, _FAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x08, 0x20, 0x40
_GET_FLAGS, _UP, _RUNNING = 0x8913, 0x1, 0x40
"""SIOCGIFFLAGS of <linux/sockios.h>, and two flags of <linux/if.h>."""
_HEADER = struct.Struct("=IHHII")
_MESSAGE = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_FLAGS = struct.Struct("16sH14x")
_PIECE = 64 * 1024


def interfaces() -> tuple[Interface, ...]:
    """Give every address of this machine that other machines might reach; none where the kernel does not say."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            length = _HEADER.size + _MESSAGE.size
            header = _HEADER.pack(length, _GET_ADDRESSES, _REQUEST | _DUMP, 1, 0)
            kernel.send(header + _MESSAGE.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
            return tuple(_answer(kernel))
    except OSError:
        return ()  # Some containers may not ask; then the address that a node was reached at has to do.


def _answer(kernel: socket.socket) -> list[Interface]:
    found: list[Interface] = []
    while True:
        data = kernel.recv(_PIECE)
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind in (_DONE, _ERROR):
                return found
            if kind == _NEW_ADDRESS:
                found += _interface(data[_HEADER.size : length])
            data = data[_aligned(length) :]


def _interface(message: bytes) -> list[Interface]:
    family, prefix, flags, scope, index = _MESSAGE.unpack_from(message)
    if scope in (_HOST_SCOPE, _LINK_SCOPE) or family not in (socket.AF_INET, socket.AF_INET6):
        return []
    if family == socket.AF_INET6 and flags & (_TEMPORARY | _FAILED | _DEPRECATED | _TENTATIVE):
        return []
    values = dict(_attributes(message[_MESSAGE.size :]))
    # At the end of a tunnel the other value is the peer's.
    address = values.get(_LOCAL) or values.get(_ADDRESS)
    if address is None:
        return []
    try:
        name = socket.if_indextoname(index)
        is_up = _is_up(name)
    except OSError:
        return []  # It has gone meanwhile.
    return [Interface(name, socket.inet_ntop(family, address), prefix)] if is_up else []


def _attributes(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found.append((kind, data[_ATTRIBUTE.size : length]))
        data = data[_aligned(length) :]
    return found


def _is_up(name: str) -> bool:
    """Say whether packets can leave by it: without a cable it keeps its addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _GET_FLAGS, _FLAGS.pack(name.encode(), 0))
    flags: int = _FLAGS.unpack(answer)[1]
    return flags & _UP != 0 and flags & _RUNNING != 0


def _aligned(length: int) -> int:
    return (length + 3) & ~3
