"""Runs that are left to their hosts: nothing of them stays on the machine that submits, whose link may be cut."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .conftest import SshLab

pytestmark = pytest.mark.ssh

WAITS = (
    "echo begun on $(hostname); until [ -e go ]; do sleep 0.05; done; "
    "mkdir -p outputs; hostname > outputs/rank-$RANK; echo done on $(hostname)"
)


@pytest.fixture
def lab(ssh_lab: SshLab) -> Iterator[SshLab]:
    """Give a lab with some code; at the end no host has anything of a detached run."""
    ssh_lab.write("code/wait.sh", WAITS)
    yield ssh_lab
    for name in ssh_lab.bed.hosts:
        assert not list(ssh_lab.bed.path(name, "cache").glob("regiment/away/*")), name


def let_go(lab: SshLab, name: str) -> None:
    """Let the processes on a host end."""
    (found,) = [p.parent for p in lab.bed.path(name).glob("**/wait.sh") if "scratch" in p.parts]
    (found / "go").touch()


def begun(lab: SshLab, name: str) -> bool:
    return any(b"sleep" in line for line in lab.bed.left(name))


def test_a_detached_run_needs_nobody_where_it_was_submitted(lab: SshLab) -> None:
    done = lab.run("run", "--name", "r", "--hosts", "h1,h2", "--detach", "--code", "code", "--", "sh", "wait.sh")
    assert (done.returncode, done.stdout) == (0, "r\n"), done.stderr
    assert not lab.processes()
    lab.wait_until(lambda: begun(lab, "h1") and begun(lab, "h2"))
    lab.bed.unplug()
    try:
        for name in ("h1", "h2"):
            let_go(lab, name)
        lab.wait_until(lambda: lab.bed.is_clean("h1") and lab.bed.is_clean("h2"))
    finally:
        lab.bed.plug_in()
    assert lab.show("r")["status"] == "Completed"
    assert "done on h2" in lab.log("r", "node-1/70_driver_log_1.txt")
    assert lab.run("wait", "r").returncode == 0
    outputs = lab.run_folder("r") / "outputs"
    assert {path.name: path.read_text() for path in outputs.iterdir()} == {"rank-0": "h1\n", "rank-1": "h2\n"}


@pytest.mark.slow
def test_logs_are_followed_and_edits_go_where_the_run_is(lab: SshLab) -> None:
    lab.write("words.txt", "data from here\n")
    lab.write(
        "job.yml",
        "command: cat ${{inputs.words}}; sh wait.sh\ncode: code\ninputs: {words: {type: uri_file, path: words.txt}}\n",
    )
    lab.run("run", "job.yml", "--name", "r", "--hosts", "h2", "--detach")
    lab.wait_until(lambda: begun(lab, "h2"))
    follower = lab.start("logs", "-f", "r")
    assert lab.run("tag", "r", "mood=good").returncode == 0
    let_go(lab, "h2")
    out, err = follower.communicate()
    assert follower.returncode == 0, err
    assert out.splitlines() == ["data from here", "begun on h2", "done on h2"]
    assert (lab.run_folder("r") / "outputs/rank-0").read_text() == "h2\n"
    assert lab.show("r")["tags"] == {"mood": "good"}
    # All of it is here now, and changes stay here.
    assert lab.run("tag", "r", "mood=better").returncode == 0
    assert lab.show("r")["tags"] == {"mood": "better"}


@pytest.mark.slow
def test_a_detached_run_is_cancelled_where_it_is(lab: SshLab) -> None:
    job = ("--name", "r", "--experiment", "e", "--code", "code")
    lab.run("run", *job, "--hosts", "h1,h2", "--detach", "--", "sh", "wait.sh")
    lab.wait_until(lambda: begun(lab, "h1") and begun(lab, "h2"))
    assert lab.run("cancel", "r").returncode == 0
    lab.script(
        "from regiment import Experiment, Run, Workspace\n"
        "run = Run(Experiment(Workspace('.regiment'), 'e'), 'r')\n"
        "assert run.wait_for_completion(raise_on_error=False)['status'] == 'Canceled'\n"
    )
    assert lab.run("wait", "r").returncode == 4


@pytest.mark.slow
def test_a_run_whose_node_0_cannot_be_reached_is_unknown_until_it_can(lab: SshLab) -> None:
    lab.run(
        "run", "--name", "r", "--hosts", "h1,h2", "--detach", "--code", "code", "--grace", "1", "--", "sh", "wait.sh"
    )
    lab.wait_until(lambda: begun(lab, "h1") and begun(lab, "h2"))
    lab.bed.cut("h1")
    try:
        lab.wait_until(lambda: lab.bed.is_clean("h2"))  # Its coordinator says nothing any more.
        soon = {"REGIMENT_SSH": f"{lab.bed.environ['REGIMENT_SSH']} -oConnectTimeout=1"}
        found = json.loads(lab.run("show", "r", "-o", "json", **soon).stdout)
        assert found["status"] == "Unknown"
        assert "node 0 of the run, h1, cannot be reached: h1 does not answer" in found["error"]["message"]
        listed = lab.run("list", "-o", "tsv", "--query", "[].status", **soon)
        assert listed.stdout.split() == ["Unknown"], listed.stderr
        refused = lab.run("cancel", "r", **soon)
        assert (refused.returncode, "cannot be reached" in refused.stderr) == (3, True)
    finally:
        lab.bed.mend("h1")
        lab.bed.remove_kept("h2")
    done = lab.run("wait", "r")
    assert done.returncode == 3
    assert "node-1 was lost" in done.stderr


@pytest.mark.slow
def test_hosts_that_cannot_reach_each_other_are_an_error_and_leave_nothing(lab: SshLab) -> None:
    lab.bed.hosts["h2"].network(f"route add unreachable {lab.bed.net}.1")
    try:
        done = lab.run("run", "--name", "r", "--hosts", "h1,h2", "--detach", "--code", "code", "--", "sh", "wait.sh")
    finally:
        lab.bed.hosts["h2"].network(f"route del unreachable {lab.bed.net}.1")
    assert done.returncode == 3, done.stderr
    assert "h2: node 0 at" in done.stderr and "leave --detach out" in done.stderr
    assert not lab.run_folder("r").exists()
