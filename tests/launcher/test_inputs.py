"""Inputs of a job: what arrives in its processes, and that nobody's data is ever changed or left mounted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from regiment.launcher.bundle import packed_agent
from regiment.launcher.node.fetch import ORDER

from .conftest import GUARD, Lab
from .webserver import Answer, serving


@pytest.fixture(autouse=True)
def nothing_left(lab: Lab) -> Iterator[None]:
    yield
    lab.wait_until(lambda: not lab.processes())
    assert str(lab.folder) not in Path("/proc/self/mountinfo").read_text("utf-8")
    assert not (lab.folder / ".regiment" / "scratch").exists()


def write_job(lab: Lab, command: str, inputs: Mapping[str, object], nodes: int = 1, **more: object) -> None:
    job = {
        "command": command,
        "inputs": dict(inputs),
        "resources": {"instance_count": nodes},
        "experiment_name": "e",
        **more,
    }
    lab.write("job.yml", yaml.safe_dump(job))


def can_mount_as_a_user() -> bool:
    dropped = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    argv = [*dropped, "unshare", "-Um", "mount", "--make-rslave", "/"]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def can_mount() -> bool:
    flag = "-m" if os.getuid() == 0 else "-Um"
    return (
        subprocess.run(["unshare", flag, "mount", "--make-rslave", "/"], check=False, capture_output=True).returncode
        == 0
    )


def test_values_arrive_whole_however_they_are_spelled(lab: Lab) -> None:
    lab.write('it\'s a "data" folder/a file.txt', "found\n")
    write_job(
        lab,
        'python show.py ${{inputs.lr}} "${{inputs.text}}" ${{inputs.text}} && cat ${{inputs.data}}/"a file.txt"',
        {"lr": 1e-3, "text": "a 'b' $HOME `id`", "data": {"path": 'it\'s a "data" folder'}},
        environment_variables={"DATA": "${{inputs.text}}"},
    )
    lab.write("show.py", "import os, sys; print(sys.argv[1:], [os.environ['DATA']])")
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr
    text = "a 'b' $HOME `id`"
    assert result.stdout == f"{['0.001', text, text]} {[text]}\nfound\n"


def test_a_mounted_folder_cannot_be_written_by_anybody_and_stays_as_it_was(lab: Lab) -> None:
    lab.write("data/sub/a.txt", "original\n")
    command = "cd ${{inputs.d}}; cat sub/a.txt; echo x > sub/a.txt; rm -rf sub; echo y > new"
    write_job(lab, command, {"d": {"path": "data"}})
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.stdout.count("original") == 1
    if can_mount():
        assert result.stdout.count("Read-only file system") == 3, result.stdout
    assert [str(p.relative_to(lab.folder / "data")) for p in (lab.folder / "data").rglob("*")] == ["sub", "sub/a.txt"]
    assert (lab.folder / "data/sub/a.txt").read_text() == "original\n"


def test_no_other_process_of_the_machine_sees_a_view(lab: Lab) -> None:
    lab.write("data/a.txt", "original\n")
    write_job(
        lab, "echo ${{inputs.d}}; touch outputs-now; while test ! -e go; do sleep 0.05; done", {"d": {"path": "data"}}
    )
    process = lab.start("run", "job.yml", "--name", "r")
    lab.wait_until((lab.folder / "outputs-now").exists)
    view = lab.folder / ".regiment/scratch/r/node-0-data/inputs/d"
    if can_mount():
        assert view.is_dir() and list(view.iterdir()) == []
    assert str(lab.folder) not in Path("/proc/self/mountinfo").read_text("utf-8")
    lab.write("go", "")
    assert process.wait(GUARD) == 0


def test_links_that_lead_out_of_a_mounted_folder_are_warned_of_once(lab: Lab) -> None:
    lab.write("blobs/1", "far\n")
    lab.write("data/near.txt", "near\n")
    (lab.folder / "data/far.txt").symlink_to("../blobs/1")
    (lab.folder / "data/ok.txt").symlink_to("near.txt")
    write_job(lab, "cat ${{inputs.d}}/ok.txt", {"d": {"path": "data"}}, nodes=2)
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.stdout.count("near") == 2
    if can_mount():
        assert result.stderr.count("far.txt") == 1 and "mode: direct" in result.stderr
    inputs = {"d": {"path": "data", "mode": "download"}}
    write_job(lab, "cat ${{inputs.d}}/far.txt", inputs)
    assert lab.run("run", "job.yml", "--name", "s").stdout == "far\n"


def test_where_mounts_are_not_to_be_had_the_job_gets_a_copy_and_the_person_one_note(lab: Lab) -> None:
    lab.write("data/a.txt", "original\n")
    command = "chmod -R u+w ${{inputs.d}}; echo mine >> ${{inputs.d}}/a.txt; cat ${{inputs.d}}/a.txt"
    write_job(lab, command, {"d": {"path": "data"}}, nodes=2)
    confined = ["setpriv", "--bounding-set=-sys_admin"] if os.getuid() == 0 else []
    argv = [*confined, sys.executable, "-m", "regiment", "run", "job.yml", "--name", "r"]
    result = subprocess.run(argv, cwd=lab.folder, env=lab.environ, check=False, capture_output=True, text=True)
    if confined or not can_mount():
        assert result.stdout.count("mine") == 2
        assert result.stderr.count("copy without write permission") == 1
    assert (lab.folder / "data/a.txt").read_text() == "original\n"


AS_A_USER = """
import ctypes, os, sys
sys.path.insert(0, sys.argv[1])
from regiment.launcher.node import views
if os.getuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # its /proc/self is its own again, as after an exec
if not views.enter_own_namespace('view'): sys.exit('no namespaces')
views.mount_view('data', 'view')
print(open('view/a.txt').read(), end='')
open('view/a.txt', 'a')
"""


def test_a_user_without_privileges_gets_views_too(lab: Lab) -> None:
    archive = packed_agent(lab.folder / "cache")
    # Not in the lab: the tests' own folders are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        (folder / "view").mkdir()
        (folder / "data/a.txt").write_text("original\n", "utf-8")
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777)
        argv = [sys.executable, "-I", "-S", "-c", AS_A_USER, str(archive)]
        result = subprocess.run(argv, cwd=folder, check=False, capture_output=True, text=True)
    if can_mount_as_a_user():
        assert result.stdout == "original\n", result.stderr
        assert "Read-only file system" in result.stderr
    else:
        assert result.stderr == "no namespaces\n"


def test_views_of_a_killed_agent_vanish_and_the_data_stays(lab: Lab) -> None:
    lab.write("data/a.txt", "original\n")
    write_job(lab, "sleep 3600", {"d": {"path": "data"}}, nodes=2)
    process = lab.start("run", "job.yml", "--name", "r")
    lab.wait_until_running("r", 2)
    os.kill(lab.show("r")["nodes"][1]["agentPid"], 9)
    assert process.wait(GUARD) == 3
    assert (lab.folder / "data/a.txt").read_text() == "original\n"


def test_a_single_file_is_shown_under_its_own_name(lab: Lab) -> None:
    lab.write("my data.csv", "1,2\n")
    write_job(lab, "basename ${{inputs.f}}; cat ${{inputs.f}}", {"f": {"path": "my data.csv", "type": "uri_file"}})
    assert lab.run("run", "job.yml", "--name", "r").stdout == "my data.csv\n1,2\n"


def test_a_file_whose_type_was_left_out_is_a_file_all_the_same(lab: Lab) -> None:
    lab.write("a.csv", "1,2\n")
    write_job(lab, "cat ${{inputs.f}}", {"f": {"path": "a.csv"}})
    assert lab.run("run", "job.yml", "--name", "r").stdout == "1,2\n"


def test_a_downloaded_copy_can_be_written_and_the_original_stays_as_it_was(lab: Lab) -> None:
    lab.write("elsewhere/linked.txt", "linked\n")
    lab.write("data/sub/a.txt", "original\n").chmod(0o444)
    (lab.folder / "data/link").symlink_to(lab.folder / "elsewhere")
    (lab.folder / "data/sub/loop").symlink_to("..")
    command = (
        "cd ${{inputs.d}} && echo mine >> sub/a.txt && echo mine >> link/linked.txt && cat sub/a.txt link/linked.txt"
    )
    write_job(lab, command, {"d": {"path": "data", "mode": "download"}}, nodes=2)
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 0, result.stderr + result.stdout
    for node in (0, 1):
        expected = [f"[node-{node} rank {node}] {line}" for line in ("original", "mine", "linked", "mine")]
        assert [line for line in result.stdout.splitlines() if f"node-{node} " in line] == expected
    assert (lab.folder / "data/sub/a.txt").read_text() == "original\n"
    assert (lab.folder / "elsewhere/linked.txt").read_text() == "linked\n"


def test_a_copy_of_a_folder_that_holds_the_workspace_ends_and_leaves_the_copies_out(lab: Lab) -> None:
    lab.write("a.txt", "mine\n")
    write_job(lab, "find ${{inputs.d}}/ -name a.txt | wc -l", {"d": {"path": ".", "mode": "download"}}, nodes=2)
    assert lab.run("run", "job.yml", "--name", "r").stdout.split()[-1] == "1"


def test_a_run_that_is_killed_at_once_leaves_nothing_either(lab: Lab) -> None:
    lab.write("data/a.txt", "original\n")
    inputs = {"d": {"path": "data"}, "c": {"path": "data", "mode": "download"}}
    write_job(lab, "trap '' TERM; sleep 3600", inputs, nodes=2)
    process = lab.start("run", "job.yml", "--name", "r")
    lab.wait_until_running("r", 2)
    assert lab.run("cancel", "--force", "r").returncode == 0
    assert process.wait(GUARD) == 4
    assert (lab.folder / "data/a.txt").read_text() == "original\n"


def test_direct_gives_the_path_itself(lab: Lab) -> None:
    lab.write("data/a.txt", "")
    write_job(
        lab,
        "echo ${{inputs.d}} ${{inputs.u}}",
        {"d": {"path": "data", "mode": "direct"}, "u": {"path": "s3://bucket/x y", "mode": "direct"}},
    )
    assert lab.run("run", "job.yml", "--name", "r").stdout == f"{lab.folder}/data s3://bucket/x y\n"


def test_a_missing_path_is_the_users_error_and_nothing_is_made(lab: Lab) -> None:
    write_job(lab, "cat ${{inputs.d}}", {"d": {"path": "data"}})
    for command in ("run", "plan"):
        result = lab.run(command, "job.yml", "--name", "r")
        assert result.returncode == 2
        assert "data" in result.stderr
    assert not (lab.folder / ".regiment").exists()


# --- the web ----------------------------------------------------------------------------------------


def test_a_url_is_downloaded_once_for_all_nodes_and_each_sees_the_file(lab: Lab) -> None:
    body = os.urandom(3_000_000).hex().encode()
    with serving({"/d/my%20file.txt": Answer(body)}) as server:
        for mode in ("ro_mount", "download"):
            inputs = {"f": {"path": f"{server.url}/d/my%20file.txt?sig=geheim", "type": "uri_file", "mode": mode}}
            write_job(lab, "basename ${{inputs.f}}; wc -c < ${{inputs.f}}", inputs, nodes=2)
            result = lab.run("run", "job.yml", "--name", mode)
            assert result.returncode == 0, result.stderr
            assert result.stdout.count("my file.txt") == 2
            assert result.stdout.count(str(len(body))) == 2
        assert len(server.asked) == 2
    prep = "".join(lab.log("download", f"node-{n}/65_job_prep-node-{n}.txt") for n in (0, 1))
    assert f"downloaded {len(body)} bytes" in prep
    plan = (lab.run_folder("download") / "plan.json").read_text("utf-8")
    assert "geheim" not in prep + plan


def test_a_url_as_a_folder_is_a_folder_with_that_file(lab: Lab) -> None:
    with serving({"/iris.csv": Answer(b"1,2\n")}) as server:
        write_job(lab, "ls ${{inputs.f}}; cat ${{inputs.f}}/*", {"f": {"path": f"{server.url}/iris.csv"}})
        assert lab.run("run", "job.yml", "--name", "r").stdout == "iris.csv\n1,2\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(b"", 404), "the server answered 404 Not Found"),
        (Answer(b"", 302, location="file:///etc/passwd"), "redirects to file:///etc/passwd, which is not followed"),
        (Answer(b"", 302, location="ftp://127.0.0.1/x"), "which is not followed"),
        (Answer(b"", 302, location="/a.csv"), "redirect"),
    ],
)
def test_a_url_that_cannot_be_had_fails_the_run_and_says_why(lab: Lab, answer: Answer, words: str) -> None:
    with serving({"/a.csv": answer}) as server:
        url = f"{server.url}/a.csv"
        write_job(lab, "cat ${{inputs.f}}", {"f": {"path": url, "type": "uri_file"}})
        result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 3
    assert f"node-0 cannot prepare: input 'f': {url}" in result.stderr
    assert words in result.stderr


def test_a_body_that_ends_early_is_tried_again_and_never_taken_for_the_whole(lab: Lab) -> None:
    with serving({"/a.csv": Answer(b"half", length=8)}) as server:
        write_job(lab, "cat ${{inputs.f}}", {"f": {"path": f"{server.url}/a.csv", "type": "uri_file"}})
        result = lab.run("run", "job.yml", "--name", "r")
        assert len(server.asked) == 3
    assert result.returncode == 3
    assert "the body ended after 4 of 8 bytes, 3 times in a row" in result.stderr


def test_redirects_to_other_web_addresses_are_followed(lab: Lab) -> None:
    with serving({"/b/real.csv": Answer(b"1,2\n"), "/a.csv": Answer(status=307, location="/b/real.csv")}) as server:
        write_job(
            lab, "basename ${{inputs.f}}; cat ${{inputs.f}}", {"f": {"path": f"{server.url}/a.csv", "type": "uri_file"}}
        )
        assert lab.run("run", "job.yml", "--name", "r").stdout == "a.csv\n1,2\n"


def test_a_run_is_cancelled_at_once_while_it_downloads(lab: Lab) -> None:
    with serving({"/a.bin": Answer(b"x" * 1000, length=10**9, stalls=True)}) as server:
        write_job(lab, "true", {"f": {"path": f"{server.url}/a.bin", "type": "uri_file"}}, nodes=2)
        process = lab.start("run", "job.yml", "--name", "r")
        lab.wait_until(lambda: server.asked)
        assert lab.run("cancel", "r").returncode == 0
        assert process.wait(GUARD) == 4


# --- other schemes ----------------------------------------------------------------------------------


def test_other_schemes_go_through_fsspec(lab: Lab) -> None:
    lab.write("far/sub/a.txt", "far away\n")
    lab.write("far/b.txt", "b\n")
    inputs = {
        "d": {"path": f"local://{lab.folder}/far", "mode": "download"},
        "f": {"path": f"local://{lab.folder}/far/b.txt", "type": "uri_file"},
    }
    write_job(lab, "cat ${{inputs.d}}/sub/a.txt ${{inputs.d}}/b.txt ${{inputs.f}}", inputs)
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.stdout == "far away\nb\nb\n", result.stderr


@pytest.mark.parametrize(
    ("url", "words"), [("nosuch://x/y", "cannot read nosuch://"), ("local:///no/such", "nothing there")]
)
def test_what_fsspec_cannot_read_is_named(lab: Lab, url: str, words: str) -> None:
    write_job(lab, "true", {"d": {"path": url}})
    result = lab.run("run", "job.yml", "--name", "r")
    assert result.returncode == 3
    assert url in result.stderr and words in result.stderr


def test_without_fsspec_the_extra_is_named(lab: Lab, tmp_path: Path) -> None:
    archive = packed_agent(tmp_path / "cache")
    order = json.dumps({"url": "s3://bucket/key", "target": str(tmp_path / "x"), "isFile": True})
    # A Python without its packages is one that fsspec was not installed in.
    argv = [sys.executable, "-I", "-S", str(archive), "fetch"]
    result = subprocess.run(argv, env={**os.environ, ORDER: order}, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert "pip install 'regiment[data]'" in json.loads(result.stdout)["error"]
