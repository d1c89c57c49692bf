"""What a machine's own files say of it: its name, its full name, its addresses."""

from __future__ import annotations

import re

from .place import Environ, Read

_ADDRESS = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3}){3})(?:/[0-9]+)?", re.ASCII)
_HEX = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)


def own_name(environ: Environ, read: Read) -> str | None:
    """Give the machine's name: containers have it as HOSTNAME, all machines as a file."""
    return environ.get("HOSTNAME") or (read("/proc/sys/kernel/hostname") or "").strip() or None


def full_name(name: str, read: Read) -> str | None:
    """Give the name with a domain that /etc/hosts has for this machine's name, as Kubernetes writes it there."""
    for line in (read("/etc/hosts") or "").splitlines():
        names = line.partition("#")[0].split()[1:]
        found = next((other for other in names if other.startswith(f"{name}.")), None)
        if found is not None:
            return found
    return None


def own_addresses(read: Read) -> tuple[str, ...]:
    """Give this machine's IPv4 addresses but for loopback ones, those on the way to everywhere first."""
    local = _local_addresses(read("/proc/net/fib_trie") or "")
    networks = _default_networks(read("/proc/net/route") or "")
    facing = [address for address in local if any(_bits(address) & mask == network for network, mask in networks)]
    return tuple(dict.fromkeys([*facing, *local]))


def _local_addresses(table: str) -> list[str]:
    """Read the kernel's table of routes: each address of the machine stands above a line `/32 host LOCAL`."""
    found, last = [], None
    for line in table.splitlines():
        if "/32 host LOCAL" in line and last is not None and not last.startswith("127."):
            found.append(last)
        match = _ADDRESS.search(line)
        last = match[1] if match else last
    return found


def _default_networks(table: str) -> list[tuple[int, int]]:
    """Give the networks, as numbers with their masks, of the interfaces that lead to everywhere."""
    rows = [line.split() for line in table.splitlines()[1:]]
    routes = [(row[0], row[1], row[7]) for row in rows if len(row) > 7 and _HEX.fullmatch(row[1])]
    routes = [route for route in routes if _HEX.fullmatch(route[2])]
    leading = {interface for interface, destination, _ in routes if int(destination, 16) == 0}
    return [
        (_turned(destination), _turned(mask))
        for interface, destination, mask in routes
        if interface in leading and int(destination, 16) != 0
    ]


def _turned(text: str) -> int:
    """Read a number that the kernel prints with its bytes as they lie in memory, the last one first."""
    return int.from_bytes(bytes.fromhex(text), "little")


def _bits(address: str) -> int:
    return int.from_bytes(bytes(int(part) % 256 for part in address.split(".")), "big")
