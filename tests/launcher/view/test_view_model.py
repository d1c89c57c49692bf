"""What a viewer knows of a run follows from its events alone."""

from __future__ import annotations

from functools import reduce
from typing import Any

from regiment.launcher.view.model import RunView, advance

from .history import COMPLETED, FAILED, STARTED, UNIX_ZERO, dated, exited, node, note, run_started, started, stopping


def seen(*events: dict[str, Any]) -> RunView:
    return reduce(advance, dated(events), RunView())


def test_a_started_run_has_its_nodes_and_processes() -> None:
    view = seen(run_started(2, 2))
    assert [each.node_id for each in view.nodes] == ["node-0", "node-1"]
    assert [(each.rank, each.node_id, each.status) for each in view.processes] == [
        (0, "node-0", "NotStarted"),
        (1, "node-0", "NotStarted"),
        (2, "node-1", "NotStarted"),
        (3, "node-1", "NotStarted"),
    ]


def test_a_failure_is_told_from_those_that_were_stopped_for_it() -> None:
    view = seen(*FAILED)
    assert [each.status for each in view.processes] == ["Stopped", "Stopped", "Stopped", "Failed"]
    assert [each.first_failure for each in view.processes] == [False, False, False, True]
    assert view.processes[3].exit_code == 7
    assert view.processes[0].signal == "SIGTERM"
    assert view.ended is not None
    assert view.ended.error is not None
    assert view.ended.error.message == "rank 3 on node-1 failed first: exit code 7"


def test_a_process_counts_its_seconds_until_it_ends() -> None:
    running = seen(run_started(1, 2), started(0))
    assert running.processes[0].elapsed(now=11) == 10
    assert running.processes[1].elapsed(now=11) is None
    ended = seen(run_started(1, 2), started(0), started(1), exited(0, "Completed", 0))
    assert ended.processes[0].elapsed(now=100) == 2


def test_the_countdown_of_a_stop_runs_from_when_it_began() -> None:
    stop = seen(*STARTED, stopping("Ctrl-C", grace=30)).stopping
    assert stop is not None
    assert stop.seconds_left(stop.at + 12) == 18
    assert stop.seconds_left(stop.at + 40) == 0
    killed = seen(*STARTED, stopping("Ctrl-C", grace=30, force=True)).stopping
    assert killed is not None
    assert killed.seconds_left(killed.at) == 0


def test_the_time_of_the_coordinators_start_is_known_from_any_event() -> None:
    assert seen(run_started(1, 1)).zero == UNIX_ZERO
    late = dated([run_started(1, 1), started(0)])[1]
    assert advance(RunView(), late).zero == UNIX_ZERO


def test_an_event_of_a_newer_coordinator_changes_nothing() -> None:
    view = seen(*STARTED)
    assert advance(view, {"seq": 99, "at": 99.0, "event": "node_cordoned", "nodeRank": 0}) is view
    assert advance(view, {"seq": 99, "at": 99.0}) is view


def test_an_event_replayed_after_a_reconnection_changes_nothing() -> None:
    view = seen(*FAILED)
    assert all(advance(view, event) is view for event in dated(FAILED))


def test_a_state_of_a_newer_coordinator_is_shown_as_it_is() -> None:
    assert seen(run_started(1, 1), node(0, "hibernating")).nodes[0].state == "hibernating"


def test_a_node_keeps_its_host_when_later_events_do_not_repeat_it() -> None:
    view = seen(run_started(1, 1), node(0, "ready", host="alpha"), node(0, "lost", text="no word for 15 s"))
    assert (view.nodes[0].host, view.nodes[0].state, view.nodes[0].text) == ("alpha", "lost", "no word for 15 s")


def test_a_later_attempt_begins_anew_and_keeps_the_notes() -> None:
    view = seen(*FAILED[:-1], note("trying again"), run_started(2, 2, attempt=1))
    assert view.attempt == 1
    assert {each.status for each in view.processes} == {"NotStarted"}
    assert view.stopping is None
    assert [each.text for each in view.notes] == ["trying again"]


def test_a_run_that_has_ended_stands_still() -> None:
    view = seen(*COMPLETED)
    assert view.status == "Completed"
    assert view.elapsed(now=5000) == 12.34
