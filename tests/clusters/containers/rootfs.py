"""A minimal Debian with Python, for the image that the tests build on: the packages of this machine, copied.

debootstrap fetches and unpacks the same ones in a minute of processor time; this takes a second, and no network.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

_WANTED = ("dash", "libstdc++6", "python3", "python3-venv", "procps")
"""Beside what every Debian has to have."""
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64")
"""Folders that are links into usr/."""
_NOT_NEEDED = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/info/")
_FIELDS = "${Package}\t${Essential}\t${Pre-Depends}, ${Depends}\n"


def make_rootfs(folder: Path) -> None:
    """Fill a new folder with what a container needs of a Debian."""
    for name in _MERGED:
        (folder / "usr" / name).mkdir(parents=True)
        (folder / name).symlink_to(f"usr/{name}")
    for name in ("dev", "proc", "sys", "run", "root", "etc", "tmp", "var/tmp"):
        (folder / name).mkdir(parents=True)
    for name in ("tmp", "var/tmp"):
        (folder / name).chmod(0o1777)
    _copy(_files(_packages()), folder)
    shell = folder / "usr" / "bin" / "sh"
    if not os.path.lexists(shell):  # Debian's dash makes it when it is installed.
        shell.symlink_to("dash")
    (folder / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (folder / "etc" / "group").write_text("root:x:0:\n")


def _packages() -> list[str]:
    """Give the essential packages and the wanted ones, with all that they depend on."""
    rows = [line.split("\t") for line in _ask("-W", "-f", _FIELDS)]
    depends = {name: _names(text) for name, _, text in rows}
    waiting = [*_WANTED, *(name for name, essential, _ in rows if essential == "yes")]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in depends and name not in found:
            found.add(name)
            waiting += depends[name]
    return sorted(found)


def _names(text: str) -> list[str]:
    """Give the packages that a list of dependencies names, alternatives and all."""
    return re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", text)


def _files(packages: list[str]) -> list[str]:
    listed = {line for line in _ask("-L", *packages) if line.startswith("/") and not line.startswith(_NOT_NEEDED)}
    return sorted(path[1:] for path in listed if os.path.lexists(path) and not _is_folder(path))


def _is_folder(path: str) -> bool:
    return Path(path).is_dir() and not Path(path).is_symlink()


def _ask(*arguments: str) -> list[str]:
    # A package of two architectures is listed as "name" and as "name:other"; one is enough.
    done = subprocess.run(["dpkg-query", *arguments], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def _copy(files: list[str], folder: Path) -> None:
    # Packages name files in /bin that lie in /usr/bin: links to folders have to stay links.
    pack = ["tar", "-C", "/", "--no-recursion", "-c", "-T", "-"]
    unpack = ["tar", "-C", str(folder), "--keep-directory-symlink", "-x"]
    packed = subprocess.run(pack, input="\n".join(files).encode(), stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(unpack, input=packed, check=True)
