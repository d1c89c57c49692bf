"""The entry of the packed agent: `python -I -S THE_ZIP ROLE`."""

from __future__ import annotations

import sys


def main() -> None:
    """Become what the first argument says; each role imports only what it needs."""
    role = sys.argv.pop(1)
    if role == "wrapper":
        from regiment.launcher.node.wrapper import main as run
    elif role == "standin":
        from regiment.launcher.node.standin import main as run
    elif role == "keeper":
        from regiment.launcher.node.keeper import main as run
    elif role == "rsh":
        from regiment.launcher.node.remoteshell import main as run
    elif role == "hostname":
        from regiment.launcher.node.hostname import main as run
    elif role == "fetch":
        from regiment.launcher.node.fetch import main as run
    elif role == "coordinator":
        from regiment.launcher.coordinator.main import main as run
    elif role == "host":
        from regiment.launcher.ssh.host import main as run
    elif role == "pipe":
        from regiment.launcher.ssh.host import pipe as run
    elif role == "errands":
        from regiment.launcher.ssh.errands import main as run
    elif role == "warm":
        from regiment.launcher.backends.warmpool import main as run
    else:
        raise SystemExit(f"unknown role {role!r}")
    run()
