"""One place out of several answers: what a person says wins, systems have to agree, and what is missing is named."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiment.distribution.places.find import find_place
from regiment.distribution.places.place import Place
from regiment.distribution.places.ports import FIRST_PORT, LAST_PORT, derived_port
from regiment.jobs.errors import UserError

from .samples import SAMPLES, SLURM_STEP

ALL = {
    "REGIMENT_NODES": "3",
    "REGIMENT_NODE_RANK": "2",
    "REGIMENT_MASTER": "10.0.0.1:29400",
    "REGIMENT_KEY_FILE": "/run/secrets/key",
}
KEY = {"REGIMENT_KEY_FILE": "/run/secrets/key"}


def place(
    environ: Mapping[str, str], flags: Mapping[str, str | None] | None = None, files: Mapping[str, str] | None = None
) -> Place:
    return find_place(environ, flags or {}, (files or {}).get)


def refused(
    environ: Mapping[str, str],
    sentence: str,
    flags: Mapping[str, str | None] | None = None,
    files: Mapping[str, str] | None = None,
) -> None:
    with pytest.raises(UserError, match=sentence):
        place(environ, flags, files)


def summary(found: Place) -> tuple[int, int, str, str]:
    return found.nodes, found.rank, found.master, found.key_file


def test_four_variables_make_a_place() -> None:
    found = place(ALL)
    assert summary(found) == (3, 2, "10.0.0.1:29400", "/run/secrets/key")
    assert found.notes == ()
    assert found.source == "REGIMENT_NODES, REGIMENT_NODE_RANK, REGIMENT_MASTER"


def test_flags_win_over_variables_which_is_said() -> None:
    found = place(ALL, {"node_rank": "1", "master": "[fe80::1]:7000", "nodes": "3", "key_file": "k"})
    assert summary(found) == (3, 1, "[fe80::1]:7000", "k")
    assert "REGIMENT_NODE_RANK says 2, which --node-rank overrides with 1" in found.notes


def test_what_a_person_says_wins_over_what_was_found_which_is_said() -> None:
    found = place(ALL | SLURM_STEP)
    assert summary(found) == (3, 2, "10.0.0.1:29400", "/run/secrets/key")
    assert "SLURM_NODEID says 1, which REGIMENT_NODE_RANK overrides with 2" in found.notes
    assert "SLURM_STEP_NODELIST says n2, which REGIMENT_MASTER overrides with 10.0.0.1" in found.notes


def test_a_system_that_cannot_be_read_is_only_noted_where_a_person_says_it_all() -> None:
    assert place(ALL | {"TF_CONFIG": "?"}).notes == ("not used: TF_CONFIG is not a JSON object; it begins with '?'",)
    refused(
        {**SLURM_STEP, **KEY, "TF_CONFIG": "?"},
        "TF_CONFIG is not a JSON object.*or set REGIMENT_NODES, REGIMENT_NODE_RANK and REGIMENT_MASTER",
    )


@pytest.mark.parametrize(
    "name", [name for name, sample in SAMPLES.items() if None not in (sample.nodes, sample.rank, sample.host)]
)
def test_a_system_that_knows_it_all_needs_nothing_but_the_key(name: str) -> None:
    sample = SAMPLES[name]
    found = place(sample.environ | KEY, files=sample.files)
    assert (found.nodes, found.rank, found.host) == (sample.nodes, sample.rank, sample.host)
    assert found.port == (sample.port or derived_port(sample.job or found.host))
    refused(sample.environ, "not complete: no key file .*set REGIMENT_KEY_FILE .or --key-file.$", files=sample.files)


def test_what_a_system_leaves_out_is_completed_by_a_person() -> None:
    sample = SAMPLES["kubernetes indexed job"]
    found = place(sample.environ | KEY | {"REGIMENT_NODES": "4"}, files=sample.files)
    assert summary(found)[:2] == (4, 1)
    assert found.host == "train-0.train-svc.default.svc.cluster.local"
    assert found.port == derived_port("train")


def test_what_nobody_says_is_named_with_the_way_to_say_it() -> None:
    refused({}, r"nothing here tells this node's place; set REGIMENT_NODES \(or --nodes\) and .*REGIMENT_KEY_FILE")
    refused(
        SAMPLES["kubernetes indexed job without a service"].environ | KEY,
        "no nodes and no master's address .found: node rank 1 from JOB_COMPLETION_INDEX.*REGIMENT_NODES.*headless",
    )
    refused(SAMPLES["kuberay"].environ | KEY, "Ray itself numbers no nodes")
    refused({name: text for name, text in ALL.items() if name != "REGIMENT_NODE_RANK"}, "no node rank .*--node-rank")


def test_two_systems_that_disagree_are_both_named() -> None:
    pytorchjob = SAMPLES["kubeflow pytorchjob"].environ
    refused(
        SLURM_STEP | pytorchjob | KEY,
        "nodes is 2 for Slurm .SLURM_STEP_NUM_NODES., but 3 for Kubeflow .PET_NNODES.; say which it is with "
        "REGIMENT_NODES or --nodes",
    )


def test_a_host_may_be_called_by_more_or_less_of_its_name() -> None:
    sample = SAMPLES["kubeflow trainer"]
    found = place(sample.environ | KEY, files=sample.files)
    assert found.master == "ddp-node-0-0.ddp:29400"
    assert found.taken[0].why == "Kubeflow says so"
    assert found.taken[1].why == "Kubeflow and Kubernetes Indexed Job agree"


def test_who_numbers_the_nodes_otherwise_must_say_where_node_0_is() -> None:
    refused(SLURM_STEP | KEY | {"REGIMENT_NODE_RANK": "0"}, "with ranks of your own set REGIMENT_MASTER")
    assert place(SLURM_STEP | KEY | {"REGIMENT_NODE_RANK": "1"}).host == "n2"


def test_a_rank_beyond_the_nodes_is_refused() -> None:
    refused(ALL | {"REGIMENT_NODE_RANK": "3"}, "the node rank is 3 .REGIMENT_NODE_RANK., but those of 3 nodes")


@pytest.mark.parametrize("text", ["", "0", "-1", "1.0", "x", "1" * 20, " 1", "٣"])
def test_what_is_no_number_of_nodes_is_refused(text: str) -> None:
    refused({}, "--nodes must be a whole number", {"nodes": text})


@pytest.mark.parametrize("text", [":1", "h:", "h:0", "h:65536", "h:x", "[::1", "[::1]1", "[]:1", "a b:1", "-h:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    refused(ALL | {"REGIMENT_MASTER": text}, "REGIMENT_MASTER must be")


def test_an_address_without_a_port_gets_the_same_one_on_every_node() -> None:
    ports = {place(ALL | {"REGIMENT_MASTER": "fe80::1", "REGIMENT_NODE_RANK": rank}).port for rank in "012"}
    assert ports == {derived_port("fe80::1")}


@pytest.mark.parametrize("name", ["azure ml", "azure batch primary", "kubeflow tfjob", "ray train"])
def test_the_variables_of_a_run_s_process_are_no_node_s_place(name: str) -> None:
    refused(SAMPLES[name].environ | KEY | {"REGIMENT_RUN_ID": "r"}, "nothing here tells this node's place")


@given(st.text())
def test_a_port_that_follows_from_a_job_is_in_its_range(job: str) -> None:
    assert FIRST_PORT <= derived_port(job) <= LAST_PORT


def test_jobs_on_one_node_rarely_meet_at_a_port() -> None:
    assert len({derived_port(f"{job}.0") for job in range(100)}) > 95


@given(st.integers(1, 1_000_000), st.data())
def test_every_place_that_is_said_is_the_one_found(nodes: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, nodes - 1))
    port = data.draw(st.integers(1, 65535))
    said = {"nodes": str(nodes), "node_rank": str(rank), "master": f"node-0:{port}", "key_file": "k"}
    assert summary(place({}, said)) == (nodes, rank, f"node-0:{port}", "k")
