"""`list`, `show`, `logs`, `wait`, `cancel`, and runs that go on without their terminal."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from .conftest import ENDLESS, GUARD, Lab

SLOW = """\
import os, time
print("line 0", flush=True)
while not os.path.exists("go"): time.sleep(0.05)
for n in range(1, 20): print("line", n, flush=True); time.sleep(0.05)
"""
WAIT = "until [ -e go ]; do sleep 0.05; done"


def detached(lab: Lab, *command: str, nodes: int = 1, name: str = "r") -> str:
    result = lab.run("run", "--detach", "--name", name, "--nodes", str(nodes), "--grace", "1", "--", *command)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_detached_run_gives_its_id_at_once_and_outlives_the_shell(lab: Lab) -> None:
    shell = lab.start("run", "--detach", "--name", "r", "--", "sh", "-c", f"{WAIT}; echo done")
    out, _ = shell.communicate(timeout=GUARD)
    assert out == "r\n"
    assert lab.show("r")["status"] in ("Starting", "Preparing", "Running")
    lab.write("go", "")
    assert lab.run("wait", "r").returncode == 0
    assert lab.log("r", "70_driver_log.txt") == "done\n"


def test_a_detached_run_does_not_care_about_the_hang_up_of_its_terminals_session(lab: Lab) -> None:
    shell = lab.start("run", "--detach", "--name", "r", "--", "sh", "-c", WAIT)
    shell.communicate(timeout=GUARD)
    coordinator = lab.show("r")["coordinator"]["pid"]
    assert os.getsid(coordinator) == coordinator != shell.pid
    lab.write("go", "")
    assert lab.run("wait", "r").returncode == 0


def test_wait_ends_with_the_runs_exit_status(lab: Lab) -> None:
    detached(lab, "sh", "-c", "sleep 0.5; exit 3")
    result = lab.run("wait", "r")
    assert result.returncode == 1
    assert "exit code 3" in result.stderr
    assert lab.run("wait", "r").returncode == 1, "also when it has ended long ago"


def test_wait_gives_up_after_its_timeout_and_leaves_the_run_alone(lab: Lab) -> None:
    detached(lab, "sleep", ENDLESS)
    lab.wait_until(lambda: lab.show("r")["status"] == "Running")
    result = lab.run("wait", "r", "--timeout", "0.5")
    assert result.returncode == 3
    assert "still Running" in result.stderr
    assert lab.run("cancel", "r", "--force").returncode == 0
    assert lab.run("wait", "r").returncode == 4


def test_cancel_works_from_any_shell_and_twice(lab: Lab) -> None:
    detached(lab, "sleep", ENDLESS, nodes=2)
    lab.wait_until_running("r", 2)
    assert lab.run("cancel", "r").returncode == 0
    assert lab.run("cancel", "r").returncode == 0
    assert lab.run("wait", "r").returncode == 4
    shown = lab.show("r")
    assert (shown["status"], shown["error"]["message"]) == ("Canceled", "cancelled by 'regiment cancel'")
    result = lab.run("cancel", "r")
    assert result.returncode == 0 and "has ended already" in result.stderr


def test_a_run_cancelled_right_after_its_start_never_starts_its_processes_or_stops_them(lab: Lab) -> None:
    detached(lab, "sleep", ENDLESS, nodes=3)
    assert lab.run("cancel", "r").returncode == 0
    assert lab.run("wait", "r").returncode == 4
    lab.wait_until(lambda: not lab.processes())


def test_an_attached_run_can_be_cancelled_from_another_shell(lab: Lab) -> None:
    process = lab.start("run", "--name", "r", "--", "sleep", ENDLESS)
    lab.wait_until_running("r", 1)
    lab.run("cancel", "r")
    _, err = process.communicate(timeout=GUARD)
    assert process.returncode == 4
    assert "cancelled by 'regiment cancel'" in err


def test_logs_are_printed_by_rank_node_and_tail(lab: Lab) -> None:
    assert (
        lab.run("run", "--name", "r", "--nodes", "2", "--", "sh", "-c", "echo one $RANK; echo two $RANK").returncode
        == 0
    )
    assert sorted(lab.run("logs", "r").stdout.splitlines()) == [
        "[node-0 rank 0] one 0",
        "[node-0 rank 0] two 0",
        "[node-1 rank 1] one 1",
        "[node-1 rank 1] two 1",
    ]
    assert lab.run("logs", "r", "--node", "0", "--tail", "1").stdout == "[node-0 rank 0] two 0\n"
    assert lab.run("logs", "r", "--rank", "1", "--tail", "1").stdout == "[node-1 rank 1] two 1\n"
    result = lab.run("logs", "r", "--rank", "5")
    assert result.returncode == 2 and "ranks 0 to 1" in result.stderr


def test_following_logs_gives_each_line_once_as_it_comes_and_ends_with_the_run(lab: Lab) -> None:
    lab.write("slow.py", SLOW)
    detached(lab, "python", "slow.py")
    follower = lab.start("logs", "-f", "r")
    assert follower.stdout is not None
    first = follower.stdout.readline()
    assert first == "line 0\n"
    assert lab.show("r")["status"] == "Running", "the first line came while the run was going on"
    lab.write("go", "")
    rest = follower.stdout.read()
    assert follower.wait(GUARD) == 0
    assert rest.splitlines() == [f"line {n}" for n in range(1, 20)]


def test_an_onlookers_ctrl_c_leaves_the_run_alone(lab: Lab) -> None:
    lab.write("slow.py", SLOW)
    detached(lab, "python", "slow.py")
    follower = lab.start("logs", "-f", "r")
    assert follower.stdout is not None
    follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=GUARD)
    assert follower.returncode == 130
    assert lab.show("r")["status"] == "Running"
    lab.run("cancel", "r", "--force")
    assert lab.run("wait", "r").returncode == 4


def test_list_shows_the_newest_first_and_can_be_searched(lab: Lab) -> None:
    for name, command in (("a", "true"), ("b", "false"), ("c", "true")):
        lab.run("run", "--name", name, "--experiment", "x" if name < "c" else "y", "--quiet", "--", command)
    assert [run["runId"] for run in json.loads(lab.run("list", "-o", "json").stdout)] == ["c", "b", "a"]
    assert lab.run("list", "--query", "[?status=='Failed'].runId", "-o", "tsv").stdout == "b\n"
    assert lab.run("list", "--experiment", "x", "--query", "[].runId", "-o", "tsv").stdout == "b\na\n"
    assert lab.run("list", "--status", "failed", "-o", "tsv", "--query", "[].[runId,status]").stdout == "b\tFailed\n"
    assert lab.run("list", "--last", "1", "--query", "[].runId", "-o", "tsv").stdout == "c\n"
    table = lab.run("list").stdout
    assert "RUN" in table and table.index("c ") < table.index("b ")


def test_show_has_the_keys_of_get_details_and_the_living_pids(lab: Lab) -> None:
    detached(lab, "sleep", ENDLESS)
    lab.wait_until_running("r", 1)
    lab.wait_until(lambda: lab.show("r")["status"] == "Running")
    shown = lab.show("r")
    azure = "runId target status startTimeUtc endTimeUtc error warnings properties inputDatasets outputDatasets"
    assert set(f"{azure} runDefinition logFiles submittedBy".split()) <= shown.keys()
    node = shown["nodes"][0]
    for pid in (shown["coordinator"]["pid"], node["agentPid"], node["keeperPid"]):
        assert Path(f"/proc/{pid}").exists()
    lab.run("cancel", "r", "--force")
    lab.run("wait", "r")
    ended = lab.show("r")
    assert ended["coordinator"] is None and ended["nodes"][0]["agentPid"] is None
    assert ended["endTimeUtc"] >= ended["startTimeUtc"]


def test_show_tells_a_person_what_went_wrong(lab: Lab) -> None:
    command = f"{lab.everybody(2)}; echo because; exit $RANK"
    lab.run("run", "--name", "r", "--nodes", "2", "--", "sh", "-c", command)
    text = lab.run("show", "r").stdout
    assert "rank 1 on node-1 failed first: exit code 1" in text
    assert "because" in text and "(first failure)" in text


def test_an_unknown_run_and_a_bad_query_are_the_users_errors(lab: Lab) -> None:
    lab.run("run", "--name", "r", "--quiet", "--", "true")
    for arguments in (["show", "nope"], ["logs", "nope"], ["wait", "nope"], ["cancel", "nope"], ["show", "../r"]):
        result = lab.run(*arguments)
        assert result.returncode == 2 and result.stderr.startswith("regiment: ") and "Traceback" not in result.stderr
    result = lab.run("show", "r", "--query", "[[[")
    assert result.returncode == 2 and "JMESPath" in result.stderr


def test_a_damaged_record_is_named_and_the_other_runs_still_list(lab: Lab) -> None:
    for name in ("a", "b"):
        lab.run("run", "--name", name, "--quiet", "--", "true")
    (lab.run_folder("a") / "run.json").write_text("{ half")
    result = lab.run("list", "--query", "[].runId", "-o", "tsv")
    assert (result.returncode, result.stdout) == (0, "b\n")
    assert "a/run.json cannot be read" in result.stderr


def test_the_reader_of_a_broken_pipe_gets_no_traceback(lab: Lab) -> None:
    lab.write("p.py", "for n in range(100000): print('line', n)")
    assert lab.run("run", "--name", "r", "--quiet", "--", "python", "p.py").returncode == 0
    process = lab.start("logs", "r")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(GUARD) == 0


def test_a_paused_reader_does_not_hold_up_the_processes(lab: Lab) -> None:
    lab.write("p.py", "for n in range(200000): print('x' * 50)")
    process = lab.start("run", "--name", "r", "--", "python", "p.py")
    lab.wait_until(lambda: (lab.run_folder("r") / "events.jsonl").exists() and lab.events("r", "process_exited"))
    out, _ = process.communicate(timeout=GUARD)
    assert len(out.splitlines()) == 200000
