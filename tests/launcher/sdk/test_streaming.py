"""Waiting for a run that was submitted, and seeing what it prints."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from ..conftest import GUARD, Lab

BEGIN = """
from regiment import Experiment, RunFailed, ScriptRunConfig, Workspace
experiment = Experiment(Workspace.from_config(), "explore-runs")
"""
TRAIN = """
import sys
print("on standard output", flush=True)
print("and on the other ü", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


def wait_for(path: Path) -> str:
    return f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.05)\n"


def test_the_output_is_streamed_in_the_documented_form(lab: Lab) -> None:
    lab.write("src/train.py", TRAIN)
    done = lab.script(
        BEGIN
        + """
run = experiment.submit(ScriptRunConfig("src", script="train.py", arguments=[0]), run_id="r")
details = run.wait_for_completion(show_output=True)
assert details["status"] == "Completed", details
definition = details["runDefinition"]
assert (definition["script"], definition["arguments"], definition["nodeCount"]) == ("train.py", ["0"], 1), details
"""
    )
    url = (lab.run_folder("r")).as_uri()
    assert done.stdout == (
        f"RunId: r\nWeb View: {url}\n"
        "\nStreaming azureml-logs/70_driver_log.txt\n========================================\n\n"
        "on standard output\nand on the other ü\n"
        f"\nExecution Summary\n=================\nRunId: r\nWeb View: {url}\n\n"
    )


def test_a_run_that_fails_is_shown_and_raised(lab: Lab) -> None:
    lab.write("src/train.py", TRAIN)
    done = lab.script(
        BEGIN
        + """
from regiment import PyTorchConfiguration
config = ScriptRunConfig("src", script="train.py", arguments=["$RANK"])
run = experiment.submit(config, run_id="r", tags={"a": "b"})
try:
    run.wait_for_completion(show_output=True)
except RunFailed as error:
    print(f"raised: {error}")
print(run.wait_for_completion(raise_on_error=False)["status"], run.get_tags())
config.run_config.node_count = 2
run = experiment.submit(config, run_id="both")
run.wait_for_completion(show_output=True, raise_on_error=False)
"""
    )
    assert re.search(r'Error:\n\{\n    "message": "rank 0', done.stdout) is None  # rank 0 of one process ends with 0
    assert "raised" not in done.stdout
    assert "Completed {'a': 'b'}" in done.stdout
    assert "Streaming azureml-logs/node-0/70_driver_log_0.txt" in done.stdout
    assert re.search(r'\nError:\n\{\n    "message": "rank 1 on node-1 failed', done.stdout)


def test_what_has_not_completed_is_raised_with_its_reason(lab: Lab) -> None:
    lab.write("src/train.py", TRAIN)
    done = lab.script(
        BEGIN
        + """
run = experiment.submit(ScriptRunConfig("src", script="train.py", arguments=[7]), run_id="r")
try:
    run.wait_for_completion()
except RunFailed as error:
    print(error)
"""
    )
    assert re.fullmatch(r"run r is Failed: .*exit code 7.*; 'regiment show r' has the record\n", done.stdout)


def test_ctrl_c_ends_the_streaming_and_not_the_run(lab: Lab) -> None:
    lab.write("src/train.py", "print('here', flush=True)\n" + wait_for(lab.folder / "go"))
    script = lab.start_script(
        BEGIN
        + """
run = experiment.submit(ScriptRunConfig("src", script="train.py"), run_id="r")
run.wait_for_completion(show_output=True)
"""
    )
    log = lab.run_folder("r") / "azureml-logs" / "70_driver_log.txt"
    lab.wait_until(lambda: log.exists() and log.read_text() == "here\n")
    assert script.stdout is not None
    while script.stdout.readline() != "here\n":
        pass
    script.send_signal(signal.SIGINT)
    out, err = script.communicate(timeout=GUARD)
    assert "The output streaming for the run interrupted.\nBut the run is still executing on the compute target." in out
    assert "KeyboardInterrupt" in err
    assert lab.show("r")["status"] == "Running"
    (lab.folder / "go").touch()
    assert lab.run("wait", "r").returncode == 0


def test_a_submitted_run_is_cancelled_and_failed_by_hand(lab: Lab) -> None:
    lab.write("src/hello_with_delay.py", "import time\ntime.sleep(3600)")
    done = lab.script(
        BEGIN
        + """
src = ScriptRunConfig(source_directory="src", script="hello_with_delay.py")
local_run = experiment.submit(src)
assert local_run.get_status() in ("NotStarted", "Starting", "Preparing", "Running"), local_run.get_status()
local_run.cancel()
print(local_run.get_status())
local_run.wait_for_completion(raise_on_error=False)
print(local_run.get_status())
local_run.cancel()
local_run = experiment.submit(src)
local_run.fail("the wrong script", "Wrong")
error = local_run.get_details()["error"]
print(local_run.get_status(), error["message"], error["code"])
"""
    )
    first, *others = done.stdout.splitlines()
    assert first in ("CancelRequested", "Finalizing", "Canceled")
    assert others == ["Canceled", "Failed the wrong script Wrong"]


def test_a_submission_outlives_the_process_that_made_it(lab: Lab) -> None:
    lab.write("src/train.py", wait_for(lab.folder / "go"))
    script = lab.start_script(
        BEGIN
        + "experiment.submit(ScriptRunConfig('src', script='train.py'), run_id='r')\nimport time; time.sleep(3600)"
    )
    lab.wait_until_running("r", 1)
    os.kill(script.pid, signal.SIGKILL)
    script.communicate()
    (lab.folder / "go").touch()
    assert lab.run("wait", "r").returncode == 0
