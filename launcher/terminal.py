"""The user's own terminal for one rank: what he types goes to it, what it prints comes back and into its log.

The rank has a terminal device made for it (a pty), which controls it: Ctrl-C, Ctrl-D, Ctrl-Z and the window's size
mean there what they mean in a shell. This process holds the other end, and moves bytes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import termios
import time
from pathlib import Path
from typing import Any, Protocol, TextIO

from regiment.jobs.errors import NodeError, UserError

from .node.loop import Loop
from .view.outlet import Outlet

CANCEL_KEYS = "Ctrl-] three times"
"""What cancels the run from inside, as it ends a session of machinectl; typed within a second."""
_CANCEL_BYTE = 0x1D
_CANCEL_COUNT = 3
_CANCEL_SECONDS = 1.0
_READ_SIZE = 64 * 1024
_MOST_TYPED = 64 * 1024
"""Bytes that may wait for a rank that does not read, before what is typed waits in the terminal."""
_LOOK_AGAIN = 0.02
"""Seconds between two looks at a device that no process of the rank has open: not yet, or not any more."""


class Owner(Protocol):
    """Whoever shows the run, and may end it."""

    def cancel(self, where: str) -> None:
        """Cancel the run; a second time, kill it."""

    def hang_up(self) -> None:
        """End the run, for its terminal is gone."""


class Device:
    """A terminal device for one rank, and our end of it.

    We never keep the rank's end open: a session whose leader ends while somebody else has its terminal open loses
    what it printed last (the kernel hangs the terminal up and throws away what was not read).
    """

    def __init__(self, like: int) -> None:
        """Make one with the modes and size of the terminal `like`."""
        try:
            self.fd, ranks_end = os.openpty()
        except OSError as error:
            raise NodeError(f"there is no terminal device for the rank: {error.strerror}") from None
        self.path = os.ttyname(ranks_end)
        self._modes = termios.tcgetattr(like)
        os.close(ranks_end)
        os.set_blocking(self.fd, False)

    def set_up(self, like: int) -> None:
        """Give it the modes and size it has for a new session."""
        termios.tcsetattr(self.fd, termios.TCSANOW, self._modes)
        self.resize(like)

    def resize(self, like: int) -> None:
        """Give it the size of another terminal; the programs on it hear of a change."""
        try:
            fcntl.ioctl(self.fd, termios.TIOCSWINSZ, fcntl.ioctl(like, termios.TIOCGWINSZ, bytes(8)))
        except OSError:
            pass  # That one has hung up.

    def read(self) -> bytes | None:
        """Give what was printed, nothing if there is nothing new, or None if no process has the device open."""
        try:
            return os.read(self.fd, _READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return None

    def write(self, data: bytes | bytearray) -> int | None:
        """Type something; gives how many bytes were taken, or None if no process has the device open."""
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return None


class Keyboard:
    """The user's terminal, whose modes are given back whatever happens: a second process waits for our death."""

    def __init__(self, stream: TextIO) -> None:
        """Make it before anything else is opened: the second process keeps what is open now."""
        if not stream.isatty():
            raise UserError("--interactive needs a terminal, and standard input is none")
        self.fd = stream.fileno()
        self._usual = termios.tcgetattr(self.fd)
        self._guard, self._life = _start_guard(self.fd, self._usual)
        self._is_raw = False

    def make_raw(self) -> None:
        """Have every key given to us as it is pressed, and nothing done with what we print."""
        self._is_raw = True
        self._set(_raw(self._usual))

    def give_back(self) -> None:
        """Give the terminal the modes it had."""
        if self._is_raw:
            self._set(self._usual)
            self._is_raw = False

    def close(self) -> None:
        """Give the terminal back for good."""
        self.give_back()
        try:
            os.write(self._life, b"\0")
        except BrokenPipeError:
            pass  # Somebody has killed it.
        os.close(self._life)
        try:
            os.waitpid(self._guard, 0)
        except ChildProcessError:
            pass  # As process 1 of a container we reap all that ends, and have done so.

    def _set(self, modes: list[Any]) -> None:
        try:
            termios.tcsetattr(self.fd, termios.TCSANOW, modes)
        except termios.error:
            pass  # It has hung up, and has no modes any more.


def _raw(modes: list[Any]) -> list[Any]:
    """Give the modes in which a terminal does nothing by itself (as C's `cfmakeraw`)."""
    read, write, control, local, speed_in, speed_out, keys = modes
    read &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    write &= ~termios.OPOST
    control = control & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    local &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    keys = [*keys]
    keys[termios.VMIN], keys[termios.VTIME] = 1, 0
    return [read, write, control, local, speed_in, speed_out, keys]


def _start_guard(terminal: int, usual: list[Any]) -> tuple[int, int]:
    """Start the process that gives the terminal back if we are killed; gives its pid and the pipe that says we live."""
    life, ours = os.pipe()
    pid = os.fork()
    if pid:
        os.close(life)
        return pid, ours
    try:
        os.close(ours)
        os.setsid()  # What is typed, and a closed window, are none of its business.
        told = os.read(life, 1)
        # A shell that was faster has set modes of its own; no shell does without ISIG.
        if not told and not termios.tcgetattr(terminal)[3] & termios.ISIG:
            termios.tcsetattr(terminal, termios.TCSANOW, usual)
    finally:
        os._exit(0)


class Relay:
    """Moves bytes between the user's terminal and the rank's while a session lasts."""

    def __init__(self, loop: Loop, keyboard: Keyboard, device: Device, screen: TextIO) -> None:
        self._loop = loop
        self._keyboard = keyboard
        self._device = device
        self._screen = Outlet(screen)
        self._screen_fd = screen.fileno()
        self._typed = bytearray()
        self.log = Log()
        self._presses: list[float] = []
        self._at_line_start = True
        self._timer: int | None = None
        self.owner: Owner | None = None
        self.is_on = False
        """Whether the rank has the terminal."""

    def begin(self) -> None:
        """Give the terminal to the rank, which has just been started."""
        if self.is_on:
            return
        self.is_on = True
        self._device.set_up(self._keyboard.fd)
        self._keyboard.make_raw()
        # Whoever stopped us and lets us go on may have changed the modes meanwhile.
        self._loop.on_signal(signal.SIGCONT, self._resume)
        self._loop.on_signal(signal.SIGWINCH, lambda: self._device.resize(self._keyboard.fd))
        self._loop.on_read(self._keyboard.fd, self._take_keys)
        self._watch_device()

    def end(self) -> None:
        """Take the terminal back, with all that was printed before."""
        if not self.is_on:
            return
        self.is_on = False
        for fd in (self._keyboard.fd, self._device.fd):
            self._loop.on_read(fd, None)
            self._loop.on_write(fd, None)
        self._loop.on_write(self._screen_fd, None)
        if self._timer is not None:
            self._loop.cancel(self._timer)
        while data := self._device.read():
            self._show(data)
        if not self._at_line_start:
            self._screen.put_bytes(b"\r\n")
        self._screen.push()
        self._typed.clear()
        self._keyboard.give_back()

    def _resume(self) -> None:
        if self.is_on:
            self._keyboard.make_raw()
            self._device.resize(self._keyboard.fd)

    # --- from the rank to the screen ----------------------------------------------------------------

    def _watch_device(self) -> None:
        self._timer = None
        self._loop.on_read(self._device.fd, self._take_output)
        self._type()

    def _take_output(self) -> None:
        data = self._device.read()
        if data is None:
            # Its process has not opened it yet, or has ended; then we hear of that, or of a restart.
            self._loop.on_read(self._device.fd, None)
            self._loop.on_write(self._device.fd, None)
            self._timer = self._loop.call_later(_LOOK_AGAIN, self._watch_device)
            return
        self._show(data)
        if not self._screen.push():
            # The rank waits for a slow terminal, as it would without us.
            self._loop.on_read(self._device.fd, None)
            self._loop.on_write(self._screen_fd, self._show_rest)

    def _show(self, data: bytes) -> None:
        self.log.append(data)
        self._screen.put_bytes(data)
        self._at_line_start = data.endswith(b"\n") if data else self._at_line_start

    def _show_rest(self) -> None:
        if self._screen.push():
            self._loop.on_write(self._screen_fd, None)
            self._watch_device()

    # --- from the keyboard to the rank --------------------------------------------------------------

    def _take_keys(self) -> None:
        try:
            data = os.read(self._keyboard.fd, _READ_SIZE)
        except OSError:
            data = b""
        if not data:
            self._loop.on_read(self._keyboard.fd, None)
            if self.owner is not None:
                self.owner.hang_up()
            return
        self._typed += data
        self._type()
        self._look_for_cancel(data)

    def _type(self) -> None:
        taken = self._device.write(self._typed) if self._typed else 0
        if taken is None:
            self._loop.on_write(self._device.fd, None)
            return  # It is typed when somebody has the device open again.
        del self._typed[:taken]
        self._loop.on_write(self._device.fd, self._type if self._typed else None)
        self._loop.on_read(self._keyboard.fd, self._take_keys if len(self._typed) < _MOST_TYPED else None)

    def _look_for_cancel(self, data: bytes) -> None:
        now = time.monotonic()
        for byte in data:
            recent = [at for at in self._presses if now - at < _CANCEL_SECONDS]
            self._presses = [*recent, now] if byte == _CANCEL_BYTE else []
            if len(self._presses) == _CANCEL_COUNT and self.owner is not None:
                self._presses = []
                self._screen.put_bytes(f"\r\nregiment: cancelling the run; {CANCEL_KEYS} again kills it\r\n".encode())
                self._screen.push()
                self.owner.cancel(CANCEL_KEYS)


class Log:
    """The log of the rank that has the terminal: byte for byte what the terminal showed."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.size = 0
        """Bytes that are in it."""
        self.trouble: str | None = None
        """Why it is not complete."""
        self._fd: int | None = None

    def append(self, data: bytes) -> None:
        """Keep what was printed; where that cannot be, the session goes on and `trouble` says why."""
        if not data or self.path is None:
            return
        try:
            if self._fd is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
                self._fd = os.open(self.path, flags, 0o600)
            written = 0
            while written < len(data):
                written += os.write(self._fd, data[written:])
            self.size = os.fstat(self._fd).st_size
        except OSError as error:
            self.trouble = f"{self.path} cannot be written ({error.strerror}); it is not complete"
