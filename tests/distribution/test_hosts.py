"""Hosts as people write them."""

from __future__ import annotations

import pytest

from regiment.distribution.hosts import HostList, read_hostfile, read_hosts
from regiment.jobs.errors import UserError


@pytest.mark.parametrize(
    ("text", "names", "slots"),
    [
        ("a,b", ("a", "b"), None),
        ("gpu[08-10],login", ("gpu08", "gpu09", "gpu10", "login"), None),
        ("a:8, b:8", ("a", "b"), 8),
        ("n[1-2,7]:4", ("n1", "n2", "n7"), 4),
        ("me@10.0.0.1", ("me@10.0.0.1",), None),
    ],
)
def test_a_list_of_hosts_is_read(text: str, names: tuple[str, ...], slots: int | None) -> None:
    assert read_hosts(text, "--hosts") == HostList(names, slots)


def test_a_hostfile_is_read_as_mpirun_has_it() -> None:
    text = "# the lab\n\na slots=4 max_slots=8\nb:4  # the new one\nc[1-2] slots = 4\n"
    assert read_hostfile(text, "hosts") == HostList(("a", "b", "c1", "c2"), 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no list of hosts"),
        ("a,,b", "is no list of hosts"),
        ("a,-oProxyCommand=x", "is no host name"),
        ("a,b;c", "is no host name"),
        ("a,n[1-2],n2", "names n2 twice"),
        ("a:8,b:4", "different numbers of processes"),
        ("a:8,b", "different numbers of processes"),
        ("a:0", "different numbers of processes"),
        ("n[1-", "is no list of hosts"),
    ],
)
def test_what_is_no_list_of_hosts_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_hosts(text, "--hosts")


def test_a_host_that_a_file_names_twice_is_told_with_both_lines() -> None:
    with pytest.raises(
        UserError, match=r"^the file, line 4 names b again, after the file, line 2; name each host once"
    ):
        read_hostfile("# ours\nb slots=2\na slots=2\nb slots=2 # again\n", "the file")
    with pytest.raises(UserError, match=r"^the file, line 1: '-oProxyCommand=x' is no host name"):
        read_hostfile("-oProxyCommand=x\n", "the file")
