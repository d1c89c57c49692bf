"""The key `container` below `regiment:`: what the nodes of a run on Slurm are in."""

from __future__ import annotations

import re
from typing import Any

from .errors import UserError
from .fields import checked, one_of, word
from .reading import Key, Reader, Reading, Table, Value
from .shapes import list_of, section, then
from .spec import Container, ContainerRuntime

_MOUNT = re.compile(r"/[^:,\s]*(:/[^:,\s]*)?(:[a-z+]+)?")


def check_mount(mount: str) -> str:
    """Check a folder that is to be seen in a container."""
    if not _MOUNT.fullmatch(mount):
        raise UserError(f"expected /FOLDER, /FOLDER:/INSIDE or /FOLDER:/INSIDE:ro, found {mount[:60]!r}")
    return mount


def _made(found: dict[str, Any], value: Value, reading: Reading) -> Container:
    # What could not be read is None and has a fault already.
    made = Container(**{key: given for key, given in found.items() if given is not None})
    if made.runtime is not ContainerRuntime.NONE and made.image is None and "image" not in found:
        reading.fault(value, f"runtime {made.runtime.value} needs an image: add image")
    return made


_TABLE: Table = {
    "runtime": Key(one_of(ContainerRuntime), "what makes it: pyxis, apptainer or none (default: none)"),
    "image": Key(word, "its image, as the runtime takes it: a file, or a name in a registry"),
    "mounts": Key(list_of(checked(word, check_mount)), "folders seen in it besides the run's own: [/data]"),
    "flags": Key(list_of(word), "more flags of the runtime's, as the site wants them"),
}
container: Reader = then(section(_TABLE), _made)
