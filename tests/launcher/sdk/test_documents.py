"""The Python of the four documents about runs, with its import lines changed and nothing else.

Each test is a session as a reader of one document would have it, block after block. Left out are

* `!more hello_with_children.py` (000, 001): a notebook's own command, no Python;
* `RunDetails(run).show()` (003, twice): a widget for Jupyter from another package than the one whose API this is;
* `ws.compute_targets` in 001's `parent.py` needs a `ws` that the document forgot: it is made first;
* `script_run_config` in 002 is what the line before it calls `src`.
"""

from __future__ import annotations

import pytest

from ..conftest import Lab

SETUP = """
import regiment
from regiment import Workspace, Experiment, Run
from regiment import ScriptRunConfig

print(regiment.VERSION)
ws = Workspace.from_config()
exp = Experiment(workspace=ws, name="explore-runs")
"""
RUNS = """
notebook_run = exp.start_logging()
notebook_run.log(name="message", value="Hello from run!")

print(notebook_run.get_status())

print(notebook_run.get_details())

notebook_run.complete()
print(notebook_run.get_status())

with exp.start_logging() as notebook_run:
    notebook_run.log(name="message", value="Hello from run!")
    print(notebook_run.get_status())

print(notebook_run.get_status())
"""
CANCEL = """
run_config = ScriptRunConfig(source_directory='.', script='hello_with_delay.py')
local_script_run = exp.submit(run_config)
print(local_script_run.get_status())

local_script_run.cancel()
print(local_script_run.get_status())

local_script_run = exp.submit(run_config)
local_script_run.fail()
print(local_script_run.get_status())
"""
CHILDREN = """
src = ScriptRunConfig(source_directory='.', script='hello_with_children.py')

local_run = exp.submit(src)
local_run.wait_for_completion(show_output=True)
print(local_run.get_status())

with exp.start_logging() as parent_run:
    for c,count in enumerate(range(5)):
        with parent_run.child_run() as child:
            child.log(name="Hello from child run", value=c)

print(parent_run.get_children())
"""
TAGS = """
local_run.add_properties({"author":"azureml-user"})
print(local_run.get_properties())

try:
    local_run.add_properties({"author":"different-user"})
except Exception as e:
    print(e)

local_run.tag("quality", "great run")
print(local_run.get_tags())

local_run.tag("quality", "fantastic run")
print(local_run.get_tags())

local_run.tag("worth another look")
print(local_run.get_tags())

print(list(exp.get_runs(properties={"author":"azureml-user"},tags={"quality":"fantastic run"})))
print(list(exp.get_runs(properties={"author":"azureml-user"},tags="worth another look")))
"""
HELLO_WITH_CHILDREN = """
from regiment import Run
run = Run.get_context()
for number in range(3):
    with run.child_run() as child:
        child.log("number", number)
print("made children")
"""
PARENT_OF_000 = """
# parent.py
# This script controls the launching of child scripts
from regiment import Run, ScriptRunConfig, RunConfiguration

run_config_for_aml_compute = RunConfiguration()
run_config_for_aml_compute.target = "gpu-compute"
run_config_for_aml_compute.environment.docker.enabled = True

run = Run.get_context()

child_args = ['Apple', 'Banana', 'Orange']
for arg in child_args:
    run.log('Status', f'Launching {arg}')
    child_config = ScriptRunConfig(source_directory=".", script='child.py', arguments=['--fruit', arg],
                                   run_config = run_config_for_aml_compute)
    # Starts the run asynchronously
    run.submit_child(child_config)

# Experiment will "complete" successfully at this point.
# Instead of returning immediately, block until child runs complete

for child in run.get_children():
    child.wait_for_completion()
"""
PARENT_OF_001 = """
# parent.py
# This script controls the launching of child scripts
from regiment import Run, ScriptRunConfig
from regiment import Workspace; ws = Workspace.from_config()

compute_target = ws.compute_targets["gpu-cluster"]

run = Run.get_context()

child_args = ['Apple', 'Banana', 'Orange']
for arg in child_args:
    run.log('Status', f'Launching {arg}')
    child_config = ScriptRunConfig(source_directory=".", script='child.py', arguments=['--fruit', arg],
                                   compute_target=compute_target)
    # Starts the run asynchronously
    run.submit_child(child_config)

# Experiment will "complete" successfully at this point.
# Instead of returning immediately, block until child runs complete

for child in run.get_children():
    child.wait_for_completion()
"""
CHILD = """
from regiment import Run
## In child run script
child_run = Run.get_context()
print(child_run.parent.id)
"""
CONFIGURE = """
from regiment import Workspace, Environment
from regiment import Experiment

ws = Workspace.from_config()
experiment_name = 'my_experiment'
experiment = Experiment(workspace=ws, name=experiment_name)
myenv = Environment.get(workspace=ws, name="AzureML-Minimal")

myenv = Environment("user-managed-env")
myenv.python.user_managed_dependencies = True

# You can choose a specific Python environment by pointing to a Python path
# myenv.python.interpreter_path = '/home/johndoe/miniconda3/envs/myenv/bin/python'
project_folder, my_compute_target = 'project', 'local'
from regiment import ScriptRunConfig

src = ScriptRunConfig(source_directory=project_folder,
                      script='train.py',
                      compute_target=my_compute_target,
                      environment=myenv)

# Set compute target
# Skip this if you are running on your local computer
src.run_config.target = my_compute_target

run = experiment.submit(config=src)
run.wait_for_completion(show_output=True)
run.download_file(name='outputs/my_output_file', output_file_path='my_destination_path')

print(run.get_portal_url())
from regiment import Run

run_id = run.id
run = Run(experiment, run_id)
metrics = run.get_metrics()
# metrics is of type Dict[str, List[float]] mapping mertic names
# to a list of the values for that metric in the given run.

print(metrics.get('metric-name'), metrics.get('my metric name'))
# list of metrics in the order they were recorded
"""
TRAIN = """
import os
from regiment import Run
run = Run.get_context()
for metric_value in (0.5, 0.25):
    run.log('metric-name', metric_value)
my_metric, N = [1, 2, 3], 2
run.log_list("my metric name", my_metric[:N])
run.log_list("my metric name", my_metric[N:])
os.makedirs('outputs', exist_ok=True)
open('outputs/my_output_file', 'w').write('a model')
"""


def test_documents_000_and_001_runs_are_started_watched_and_ended(lab: Lab) -> None:
    out = lab.script(SETUP + RUNS).stdout.splitlines()
    version, running, details, *statuses = out
    assert version.count(".") == 2
    assert (running, statuses) == ("Running", ["Completed", "Running", "Completed"])
    assert "'runId': 'explore-runs_" in details


def test_documents_000_and_001_runs_are_cancelled_and_failed(lab: Lab) -> None:
    lab.write("hello_with_delay.py", "import time\ntime.sleep(3600)\n")
    _, before, after, failed = lab.script(SETUP + CANCEL).stdout.splitlines()
    assert before in ("NotStarted", "Starting", "Preparing", "Running")
    assert after in ("CancelRequested", "Finalizing", "Canceled")
    assert failed == "Failed"


def test_documents_000_and_001_children_tags_and_properties(lab: Lab) -> None:
    lab.write("hello_with_children.py", HELLO_WITH_CHILDREN)
    out = lab.script(SETUP + CHILDREN + TAGS).stdout
    assert "\nmade children\n" in out
    *_, status, children, properties, refusal, great, fantastic, word, first, second = out.splitlines()
    assert status == "Completed"
    assert children.startswith("<generator object")
    assert "'author': 'azureml-user'" in properties
    assert "cannot become 'different-user'" in refusal
    assert (great, fantastic) == ("{'quality': 'great run'}", "{'quality': 'fantastic run'}")
    assert word == "{'quality': 'fantastic run', 'worth another look': None}"
    assert first == second
    assert first.startswith("[ScriptRun(Id: explore-runs_")


@pytest.mark.slow
def test_document_000_a_parent_submits_its_children(lab: Lab) -> None:
    lab.run("compute", "add", "gpu-compute", "--type", "local")
    assert submitted_children(lab, PARENT_OF_000) == ["Completed"] * 3


@pytest.mark.slow
def test_document_001_a_parent_submits_its_children(lab: Lab) -> None:
    lab.run("compute", "add", "gpu-cluster", "--type", "local")
    assert submitted_children(lab, PARENT_OF_001) == ["Completed"] * 3


def submitted_children(lab: Lab, parent: str) -> list[str]:
    lab.write("parent.py", parent)
    lab.write("child.py", CHILD)
    out = lab.script(
        SETUP
        + """
run = exp.submit(ScriptRunConfig(source_directory='.', script='parent.py'))
run.wait_for_completion()
print(*[child.get_status() for child in run.get_children()])
"""
    ).stdout
    return out.splitlines()[-1].split()


def test_documents_002_and_003_a_script_is_configured_submitted_and_its_results_are_read(lab: Lab) -> None:
    lab.write("project/train.py", TRAIN)
    out = lab.script(CONFIGURE).stdout
    *_, url, metrics = out.splitlines()
    assert url.startswith("file:///")
    assert metrics == "[0.5, 0.25] [1, 2, 3]"
    assert (lab.folder / "my_destination_path").read_text() == "a model"
