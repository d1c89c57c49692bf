"""Proof of the run's key, told as the three lines of a connection and as what an attacker makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.launcher.node.proof import MAX_LINE, AgentProof, CoordinatorProof, Unproven

KEY = bytes(range(32))
CERTIFICATE = b"f" * 32


def changed(line: bytes, **words: Any) -> bytes:
    return json.dumps({**json.loads(line), **words}).encode()


def test_both_sides_believe_each_other_with_the_same_key() -> None:
    coordinator, agent = CoordinatorProof(KEY, CERTIFICATE), AgentProof(KEY, CERTIFICATE, 3)
    proven = coordinator.check(agent.answer(coordinator.hello))
    assert proven.rank == 3
    agent.check(proven.answer)


@pytest.mark.parametrize(("key", "certificate"), [(bytes(32), CERTIFICATE), (KEY, b"x" * 32)])
def test_another_key_or_a_certificate_of_somebody_between_is_refused(key: bytes, certificate: bytes) -> None:
    coordinator = CoordinatorProof(KEY, CERTIFICATE)
    with pytest.raises(Unproven, match="wrong key"):
        coordinator.check(AgentProof(key, certificate, 0).answer(coordinator.hello))


@pytest.mark.parametrize(("key", "certificate"), [(bytes(32), CERTIFICATE), (KEY, b"x" * 32)])
def test_an_agent_refuses_a_coordinator_with_another_key_or_certificate(key: bytes, certificate: bytes) -> None:
    stranger = CoordinatorProof(key, certificate)
    agent, accomplice = AgentProof(KEY, CERTIFICATE, 0), AgentProof(key, certificate, 0)
    agent.answer(stranger.hello)
    with pytest.raises(Unproven, match="wrong key"):
        agent.check(stranger.check(accomplice.answer(stranger.hello)).answer)


def test_a_recorded_answer_proves_nothing_on_another_connection() -> None:
    first, second = CoordinatorProof(KEY, CERTIFICATE), CoordinatorProof(KEY, CERTIFICATE)
    recorded = AgentProof(KEY, CERTIFICATE, 0).answer(first.hello)
    first.check(recorded)
    with pytest.raises(Unproven, match="wrong key"):
        second.check(recorded)


def test_an_agents_own_proof_sent_back_to_it_is_refused() -> None:
    agent = AgentProof(KEY, CERTIFICATE, 0)
    mine = json.loads(agent.answer(CoordinatorProof(KEY, CERTIFICATE).hello))
    with pytest.raises(Unproven, match="wrong key"):
        agent.check(json.dumps({"protocol": 1, "proof": mine["proof"]}).encode())


def test_a_node_rank_cannot_be_changed_on_the_way() -> None:
    coordinator = CoordinatorProof(KEY, CERTIFICATE)
    answer = AgentProof(KEY, CERTIFICATE, 1).answer(coordinator.hello)
    with pytest.raises(Unproven, match="wrong key"):
        coordinator.check(changed(answer, rank=2))


def test_a_connection_has_one_guess() -> None:
    coordinator = CoordinatorProof(KEY, CERTIFICATE)
    answer = AgentProof(KEY, CERTIFICATE, 1).answer(coordinator.hello)
    with pytest.raises(Unproven):
        coordinator.check(b"{}")
    with pytest.raises(Unproven, match="second answer"):
        coordinator.check(answer)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"protocol": 2, "new": 1}, "same Regiment on all nodes"),
        ({"protocol": True}, "same Regiment on all nodes"),
        ({"rank": -1}, "no node rank"),
        ({"rank": True}, "no node rank"),
        ({"rank": 1e3}, "no node rank"),
        ({"nonce": "F" * 64}, "a nonce"),
        ({"proof": "é" * 64}, "a proof"),
        ({"proof": None}, "a proof"),
        ({"more": 1}, "another kind"),
        ({"nonce": "0" * MAX_LINE}, "more than 4096 bytes"),
    ],
)
def test_a_line_that_is_not_quite_one_is_refused_in_words(words: dict[str, Any], said: str) -> None:
    coordinator = CoordinatorProof(KEY, CERTIFICATE)
    answer = AgentProof(KEY, CERTIFICATE, 0).answer(coordinator.hello)
    with pytest.raises(Unproven, match=said):
        coordinator.check(changed(answer, **words))


@given(st.binary(max_size=200) | st.sampled_from([b"[" * 4000, b"null", b"[]", b'{"protocol": NaN}', b"1" * 4096]))
def test_garbage_is_refused_on_both_sides_and_nothing_else_happens(garbage: bytes) -> None:
    agent = AgentProof(KEY, CERTIFICATE, 0)
    with pytest.raises(Unproven):
        CoordinatorProof(KEY, CERTIFICATE).check(garbage)
    with pytest.raises(Unproven):
        agent.check(garbage)
    with pytest.raises(Unproven):
        agent.answer(garbage)
