"""Starts a program on an emulated node that sees the node's id as the name of its host.

Open MPI takes ranks whose daemons report one host name for ranks of one machine. A UTS namespace of its own
(namespaces(7)) gives each daemon another name; root may make one, others where user namespaces are allowed.
"""

from __future__ import annotations

import ctypes
import os
import sys

_CLONE_NEWUTS = 0x04000000
_CLONE_NEWUSER = 0x10000000


def main() -> None:
    """Become the program in the arguments: NAME PROGRAM ARGUMENTS..."""
    name, *argv = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUTS) == 0 or _enter_user_namespace(libc):
        libc.sethostname(name.encode(), len(name.encode()))
    else:
        # Without names of their own the nodes must not look for each other's shared memory.
        print("regiment: no UTS namespaces here; MPI's emulated nodes talk over TCP alone", file=sys.stderr)
        os.environ |= {"OMPI_MCA_btl": "self,tcp", "OMPI_MCA_coll": "^han,sm"}
    os.execvp(argv[0], argv)


def _enter_user_namespace(libc: ctypes.CDLL) -> bool:
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWUTS) != 0:
        return False
    # Inside as outside: who made the files of the run can still read them.
    for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{file}", "w", encoding="ascii") as target:
            target.write(text)
    return True
