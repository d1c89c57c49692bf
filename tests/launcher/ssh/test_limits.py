"""How long hosts have to come up."""

from __future__ import annotations

from regiment.distribution.state import Policy
from regiment.launcher.coordinator.hosts import AT_ONCE, Hosts


def hosts(count: int, limit: float) -> Hosts:
    return Hosts(tuple(f"h{number}" for number in range(count)), "python", limit)


def test_no_host_loses_of_its_time_what_those_before_it_take() -> None:
    for count in (1, AT_ONCE, AT_ONCE + 1, 10 * AT_ONCE):
        last_turn_at = (count - 1) // AT_ONCE * 300.0
        assert hosts(count, 300.0).all_within > last_turn_at + 300.0


def test_a_reached_host_s_agent_has_as_long_as_one_on_this_machine() -> None:
    assert hosts(1, 0.5).all_within >= 0.5 + Policy().start_limit
