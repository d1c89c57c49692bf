"""Which interface faces the peers."""

from __future__ import annotations

from regiment.launcher.join.interface import GLOO, interface_of, name_interface


def test_the_interface_of_an_address_is_found() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("192.0.2.1") is None


def test_nobody_is_told_what_he_knows_or_what_leads_nowhere() -> None:
    environ = {GLOO: "eth7"}
    name_interface("127.0.0.1", environ)
    name_interface("192.0.2.1", environ)
    assert environ == {GLOO: "eth7"}
    environ = {}
    name_interface("127.0.0.1", environ)
    name_interface("192.0.2.1", environ)
    assert environ == {}
