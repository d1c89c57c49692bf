"""`regiment run` from end to end, with real processes on emulated nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ENDLESS, Lab

JOB = """\
experiment_name: exp
command: {command}
code: src
resources: {{instance_count: {nodes}}}
"""


def write_job(lab: Lab, command: str, nodes: int = 2) -> None:
    lab.write("job.yml", JOB.format(command=json.dumps(command), nodes=nodes))
    lab.write("src/keep.txt", "as submitted\n")


def test_a_command_runs_in_the_current_folder_and_its_exit_code_decides(lab: Lab) -> None:
    result = lab.run("run", "--name", "good", "--", "python", "-c", "import os; print(os.getcwd())")
    assert result.returncode == 0
    assert result.stdout == f"{lab.folder}\n"
    result = lab.run("run", "--name", "bad", "--", "python", "-c", "raise SystemExit(3)")
    assert result.returncode == 1
    assert "exit code 3" in result.stderr
    assert lab.show("good")["status"] == "Completed"
    assert lab.show("bad")["error"]["exitCode"] == 3


def test_a_job_files_command_goes_through_the_shell_of_each_process(lab: Lab) -> None:
    write_job(lab, "cat keep.txt | tr a-z A-Z && echo rank $RANK of $WORLD_SIZE")
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.splitlines()) == [
        "[node-0 rank 0] AS SUBMITTED",
        "[node-0 rank 0] rank 0 of 2",
        "[node-1 rank 1] AS SUBMITTED",
        "[node-1 rank 1] rank 1 of 2",
    ]


def test_the_run_folder_is_as_documented(lab: Lab) -> None:
    write_job(lab, "echo hello; mkdir -p outputs logs; echo $RANK > outputs/own-$RANK.txt; echo x > logs/l.txt")
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    folder = lab.run_folder("r")
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    nodes = [
        f"attempts/0/azureml-logs/node-{n}/{name}"
        for n in (0, 1)
        for name in (
            f"55_azureml-execution-node-{n}.txt",
            f"65_job_prep-node-{n}.txt",
            f"75_job_post-node-{n}.txt",
            f"70_driver_log_{n}.txt",
            "process_info.json",
            "process_status.json",
        )
    ]
    assert found == {
        "job.yml",
        "plan.json",
        "run.json",
        "record.lock",
        "spec.json",
        "packages.json",
        "events.jsonl",
        "code/keep.txt",
        "outputs/own-0.txt",
        "outputs/own-1.txt",
        "logs/l.txt",
        "logs/azureml/coordinator.log",
        "logs/azureml/job_prep_azureml.log",
        "logs/azureml/job_release_azureml.log",
        "attempts/0/azureml-logs/process_info.json",
        "attempts/0/azureml-logs/process_status.json",
        *nodes,
    }
    release = (folder / "logs" / "azureml" / "job_release_azureml.log").read_text()
    assert "node-0 released\n" in release and "node-1 released\n" in release
    assert (folder / "job.yml").read_text() == (lab.folder / "job.yml").read_text()
    assert (folder / "azureml-logs").readlink() == Path("attempts/0/azureml-logs")
    assert folder.stat().st_mode & 0o077 == 0
    assert not (lab.folder / ".regiment" / "scratch").exists()


def test_one_node_has_its_logs_at_the_top_and_one_process_has_no_number(lab: Lab) -> None:
    assert lab.run("run", "--name", "r", "--", "echo", "hi").returncode == 0
    names = {path.name for path in (lab.run_folder("r") / "azureml-logs").iterdir()}
    assert names == {
        "55_azureml-execution-node-0.txt",
        "65_job_prep-node-0.txt",
        "70_driver_log.txt",
        "75_job_post-node-0.txt",
        "process_info.json",
        "process_status.json",
    }


def test_the_status_files_say_who_ran_where_and_how_it_ended(lab: Lab) -> None:
    write_job(lab, "exit 0")
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    logs = lab.run_folder("r") / "azureml-logs"
    status = json.loads((logs / "process_status.json").read_text())
    assert (status["schema"], status["runId"], status["attempt"], status["status"]) == (1, "r", 0, "Completed")
    row = status["processes"][1]
    pid, start, end = row.pop("pid"), row.pop("startTimeUtc"), row.pop("endTimeUtc")
    assert isinstance(pid, int) and start <= end and end.endswith("Z")
    assert row == {
        "name": "rank_1",
        "rank": 1,
        "localRank": 0,
        "nodeRank": 1,
        "nodeId": "node-1",
        "status": "Completed",
        "exitCode": 0,
        "signal": None,
        "firstFailure": False,
        "log": "azureml-logs/node-1/70_driver_log_1.txt",
    }
    own = json.loads((logs / "node-1" / "process_status.json").read_text())
    assert [process["rank"] for process in own["processes"]] == [1]
    info = json.loads((logs / "process_info.json").read_text())
    assert [node["nodeId"] for node in info["nodes"]] == ["node-0", "node-1"]
    assert info["nodes"][0]["ip"] == "127.0.0.1"


def test_status_files_are_valid_json_at_every_moment(lab: Lab) -> None:
    process = lab.start("run", "--name", "r", "--nodes", "3", "--", "sh", "-c", "until [ -e go ]; do sleep 0.05; done")
    logs = lab.run_folder("r") / "azureml-logs"
    seen = set()
    while process.poll() is None:
        for path in (
            logs / "process_status.json",
            logs / "node-1" / "process_status.json",
            lab.run_folder("r") / "run.json",
        ):
            try:
                seen.add(json.loads(path.read_text("utf-8"))["status"])
            except FileNotFoundError:
                continue
        if "Running" in seen:
            lab.write("go", "")
    assert process.returncode == 0
    assert json.loads((lab.run_folder("r") / "run.json").read_text("utf-8"))["status"] == "Completed"


def test_logs_are_byte_exact(lab: Lab) -> None:
    script = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 5000 + b'x' * 3_000_000 + b'no newline')"
    lab.write("p.py", script)
    assert lab.run("run", "--name", "r", "--quiet", "--", "python", "p.py").returncode == 0
    data = (lab.run_folder("r") / "azureml-logs" / "70_driver_log.txt").read_bytes()
    assert data == bytes(range(256)) * 5000 + b"x" * 3_000_000 + b"no newline"


def test_each_node_works_in_a_writable_copy_and_the_code_stays_as_it_was(lab: Lab) -> None:
    write_job(lab, "echo changed > keep.txt; mkdir -p outputs; cp keep.txt outputs/")
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert (lab.folder / "src" / "keep.txt").read_text() == "as submitted\n"
    assert (lab.run_folder("r") / "code" / "keep.txt").read_text() == "as submitted\n"
    assert (lab.run_folder("r") / "outputs" / "keep.txt").read_text() == "changed\n"


def test_what_nodes_wrote_differently_is_kept_for_each_of_them(lab: Lab) -> None:
    write_job(lab, "mkdir -p outputs/a; echo $RANK > outputs/a/model; echo same > outputs/same", nodes=3)
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    outputs = lab.run_folder("r") / "outputs"
    found = {str(p.relative_to(outputs)): p.read_text() for p in outputs.rglob("*") if p.is_file()}
    assert found == {"a/model": "0\n", "node-1/a/model": "1\n", "node-2/a/model": "2\n", "same": "same\n"}


def test_outputs_are_collected_from_a_failed_run_too(lab: Lab) -> None:
    write_job(lab, f"mkdir -p outputs; echo $RANK > outputs/$RANK; {lab.everybody(2)}; exit $RANK")
    assert lab.run("run", "job.yml", "--name", "r").returncode == 1
    assert sorted(path.name for path in (lab.run_folder("r") / "outputs").iterdir()) == ["0", "1"]


def test_nothing_of_an_outer_job_leaks_in_and_the_users_variables_do(lab: Lab) -> None:
    leaks = {
        "RANK": "7",
        "MASTER_ADDR": "evil",
        "TF_CONFIG": "{}",
        "OMPI_COMM_WORLD_RANK": "3",
        "AZUREML_RUN_ID": "outer",
    }
    result = lab.run(
        "run", "--name", "r", "--env", "A=1", "--env", "B", "--", "env", **leaks, B="2", OMP_NUM_THREADS="5"
    )
    environ = dict(line.partition("=")[::2] for line in result.stdout.splitlines())
    assert (environ["RANK"], environ["MASTER_ADDR"], environ["AZUREML_RUN_ID"]) == ("0", "127.0.0.1", "r")
    assert (environ["A"], environ["B"], environ["OMP_NUM_THREADS"]) == ("1", "2", "5")
    assert not {"TF_CONFIG", "OMPI_COMM_WORLD_RANK"} & environ.keys()


def test_secrets_reach_the_process_and_no_file_of_the_run(lab: Lab) -> None:
    result = lab.run("run", "--name", "r", "--env", "HF_TOKEN=geheim123", "--", "sh", "-c", "test ${#HF_TOKEN} = 9")
    assert result.returncode == 0
    folder = lab.run_folder("r")
    for path in (p for p in folder.rglob("*") if p.is_file()):
        assert b"geheim123" not in path.read_bytes(), path


def test_each_emulated_node_has_its_share_of_the_processors(lab: Lab) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one processor cannot be shared")
    result = lab.run(
        "run", "--name", "r", "--nodes", "2", "--", "python", "-c", "import os; print(os.sched_getaffinity(0))"
    )
    first, second = (set(eval(line.partition("] ")[2])) for line in sorted(result.stdout.splitlines()))
    assert first | second == set(cpus) and not first & second


@pytest.mark.parametrize(
    ("program", "what"),
    [
        ("no-such-program", "no such program in PATH"),
        ("./no-such-program", "no such file"),
        ("/no/such", "no such file"),
    ],
)
def test_a_program_that_is_not_there_fails_with_the_shells_exit_code_and_says_so(
    lab: Lab, program: str, what: str
) -> None:
    result = lab.run("run", "--name", "r", "--", program)
    assert result.returncode == 1
    assert "exit code 127" in result.stderr
    assert f"cannot run '{program}': {what}\n" in result.stderr


def test_the_environment_name_that_nobody_knows_is_mentioned_once(lab: Lab) -> None:
    lab.write("job.yml", "command: echo hi\nenvironment: azureml:AzureML-Pytorch:1\n")
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0
    assert result.stderr.count("is not known to the workspace") == 1


def test_quiet_prints_nothing_but_errors(lab: Lab) -> None:
    result = lab.run("run", "--name", "good", "--quiet", "--", "echo", "hi")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    result = lab.run("run", "--name", "bad", "--quiet", "--", "sh", "-c", "echo reason; exit 4")
    assert (result.returncode, result.stdout) == (1, "")
    assert "exit code 4" in result.stderr and "reason" in result.stderr


def test_pass_exit_code_gives_the_first_failing_process_exit_code(lab: Lab) -> None:
    assert lab.run("run", "--name", "r", "--pass-exit-code", "--", "sh", "-c", "exit 9").returncode == 9
    assert lab.run("run", "--name", "s", "--pass-exit-code", "--", "sh", "-c", "kill -9 $$").returncode == 137


def test_a_second_run_of_the_same_name_is_refused_and_the_first_stays(lab: Lab) -> None:
    assert lab.run("run", "--name", "r", "--", "true").returncode == 0
    result = lab.run("run", "--name", "r", "--", "false")
    assert result.returncode == 2
    assert "--name" in result.stderr
    assert lab.show("r")["status"] == "Completed"


def test_the_time_limit_cancels_and_says_why(lab: Lab) -> None:
    result = lab.run("run", "--name", "r", "--timeout", "1", "--", "sleep", ENDLESS)
    assert result.returncode == 4
    assert "time limit of 1 s" in result.stderr
    assert lab.show("r")["status"] == "Canceled"


def test_code_given_on_the_command_line_is_snapshotted_and_run_from_there(lab: Lab) -> None:
    lab.write("proj/hello.py", "import os; print(os.getcwd(), os.listdir('.'))")
    result = lab.run("run", "--name", "r", "--code", "proj", "--", "python", "hello.py")
    assert result.returncode == 0
    assert "scratch/r/node-0" in result.stdout and "hello.py" in result.stdout
    assert (lab.run_folder("r") / "code" / "hello.py").exists()


def test_flags_go_over_the_job_file(lab: Lab) -> None:
    write_job(lab, "echo $A", nodes=1)
    result = lab.run("run", "job.yml", "--nodes", "2", "--env", "A=b", "--experiment", "other", "--set", "name=mine")
    assert result.returncode == 0, result.stderr
    shown = lab.show("mine")
    assert (shown["instanceCount"], shown["experimentName"]) == (2, "other")


def test_a_process_without_a_reader_of_standard_input_sees_its_end(lab: Lab) -> None:
    assert lab.run("run", "--name", "r", "--", "sh", "-c", "cat; echo done").stdout == "done\n"


def test_background_processes_of_a_completed_run_do_not_outlive_it(lab: Lab) -> None:
    command = "(setsid sleep 77 &) ; sleep 78 & exit 0"
    assert lab.run("run", "--name", "r", "--", "sh", "-c", command).returncode == 0
    assert lab.processes() == []


def test_the_master_port_can_be_listened_on_by_the_job_and_by_nobody_else(lab: Lab, tmp_path: Path) -> None:
    lab.write(
        "p.py",
        "import os, socket\n"
        "port = int(os.environ['MASTER_PORT'])\n"
        "plain = socket.socket()\n"
        "try:\n    plain.bind(('', port)); print('taken')\n"
        "except OSError: print('refused')\n"
        "rank0 = socket.socket(); rank0.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        "rank0.bind(('', port)); rank0.listen(); print('listening')\n",
    )
    assert lab.run("run", "--name", "r", "--", "python", "p.py").stdout == "refused\nlistening\n"


def test_a_run_whose_snapshot_is_refused_leaves_nothing_and_its_name_is_free(lab: Lab) -> None:
    lab.write("src/a.txt", "a")
    (lab.folder / "src" / "loop").symlink_to("loop")
    os.mkfifo(lab.folder / "src" / "pipe")
    (lab.folder / "src" / "bad\udcff").mkdir()
    first = lab.run("run", "--name", "r", "--code", "src/a.txt", "--", "true")
    assert first.returncode == 2
    assert not lab.run_folder("r").exists()
    second = lab.run("run", "--name", "r", "--code", "src", "--", "true")
    assert second.returncode in (0, 2), second.stderr


def test_closed_standard_files_are_no_reason_to_fail(lab: Lab) -> None:
    script = f"{sys.executable} -m regiment run --name $0 -- sh -c 'echo hi' >&- 2>&- <&-"
    for name in ("a", "b"):
        result = subprocess.run(["sh", "-c", script, name], cwd=lab.folder, env=lab.environ, check=False)
        assert result.returncode == 0
        assert lab.log(name, "70_driver_log.txt") == "hi\n"


def test_with_any_umask_nobody_else_can_read_the_workspace_or_change_the_packed_agent(lab: Lab) -> None:
    script = f"umask 000; exec {sys.executable} -m regiment run --name r --code src -- touch made"
    lab.write("src/x", "x")
    assert subprocess.run(["sh", "-c", script], cwd=lab.folder, env=lab.environ, check=False).returncode == 0
    workspace = lab.folder / ".regiment"
    for path in (workspace, workspace / "runs", workspace / "cache", workspace / "snapshots", lab.run_folder("r")):
        assert path.stat().st_mode & 0o077 == 0, path
    for path in (workspace / "cache").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_packed_agent_that_others_could_have_changed_is_not_run(lab: Lab) -> None:
    assert lab.run("run", "--name", "a", "--quiet", "--", "true").returncode == 0
    (packed,) = (lab.folder / ".regiment" / "cache").iterdir()
    packed.write_bytes(b"not a zip")
    packed.chmod(0o666)
    assert lab.run("run", "--name", "b", "--quiet", "--", "true").returncode == 0


def test_links_in_outputs_still_lead_somewhere_when_the_run_is_over(lab: Lab) -> None:
    write_job(lab, "mkdir outputs; echo 1 > outputs/a; ln -s $PWD/outputs/a outputs/latest", nodes=1)
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    assert (lab.run_folder("r") / "outputs" / "latest").read_text() == "1\n"


def test_the_jobs_own_logs_do_not_overwrite_ours(lab: Lab) -> None:
    write_job(lab, "mkdir -p logs/azureml; echo mine > logs/azureml/coordinator.log; echo x > logs/x", nodes=1)
    assert lab.run("run", "job.yml", "--name", "r").returncode == 0
    logs = lab.run_folder("r") / "logs"
    assert (logs / "x").read_text() == "x\n"
    assert (logs / "azureml" / "coordinator.log").read_text() == ""


def test_the_users_words_are_his_own_whatever_they_look_like(lab: Lab) -> None:
    words = ("{shell}", "{temporary}/x", "{wrapper}", "a{remote_shell}", "{rank}")
    result = lab.run("run", "--name", "r", "--", "echo", *words)
    assert result.stdout == f"{' '.join(words)}\n", result.stderr
    write_job(lab, "echo {shell} {temporary}", nodes=1)
    result = lab.run("run", "job.yml", "--name", "s")
    assert result.stdout == "{shell} {temporary}\n", result.stderr


def test_a_limit_of_a_month_is_no_trouble(lab: Lab) -> None:
    result = lab.run("run", "--name", "r", "--timeout", str(90 * 24 * 3600), "--grace", "9000000", "--", "true")
    assert result.returncode == 0, result.stderr


def test_what_the_submitting_shell_has_open_is_let_go_of(lab: Lab) -> None:
    reader, writer = os.pipe()
    argv = [sys.executable, "-m", "regiment", "run", "--name", "r", "--detach", "--", "sleep", ENDLESS]
    subprocess.run(argv, cwd=lab.folder, env=lab.environ, pass_fds=[writer], stdout=subprocess.DEVNULL, check=True)
    os.close(writer)
    assert os.read(reader, 1) == b"", "somebody who reads to the end would wait for the run"
    os.close(reader)
    lab.wait_until_running("r", 1)
    assert lab.run("cancel", "r", "--force").returncode == 0
    lab.run("wait", "r")
