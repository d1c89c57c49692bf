"""A cable with a delay, for kernels without netem too: two network devices; what goes into one comes out of the other.

    python wire.py NAME OTHER SECONDS

Both devices are made in the network that it is started in, and may be moved to others. It says `ready`, and both are
gone when it ends.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

_TUNSETIFF = 0x400454CA
_TAP_WITHOUT_HEADER = 0x0002 | 0x1000
_FRAME = 1 << 16


def _device(name: str) -> int:
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP_WITHOUT_HEADER))
    return file


def _frames(source: int) -> list[bytes]:
    found = []
    try:
        while True:
            found.append(os.read(source, _FRAME))
    except BlockingIOError:
        return found


def _put(target: int, frame: bytes) -> None:
    try:
        os.write(target, frame)
    except OSError:
        pass  # The device is not up (yet), and its packets are lost as in any cable that is out.


def main(names: tuple[str, str], delay: float) -> None:
    """Carry frames from each of the two to the other."""
    one, other = map(_device, names)
    across = {one: other, other: one}
    print("ready", flush=True)
    travelling: deque[tuple[float, int, bytes]] = deque()
    while True:
        wait = max(0.0, travelling[0][0] - time.monotonic()) if travelling else None
        for source in select.select((one, other), (), (), wait)[0]:
            due = time.monotonic() + delay
            travelling.extend((due, across[source], frame) for frame in _frames(source))
        while travelling and travelling[0][0] <= time.monotonic():
            _, target, frame = travelling.popleft()
            _put(target, frame)


if __name__ == "__main__":
    main((sys.argv[1], sys.argv[2]), float(sys.argv[3]))
