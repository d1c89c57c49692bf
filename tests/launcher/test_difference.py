"""`regiment show RUN --diff OTHER`: it worked yesterday."""

from __future__ import annotations

import json

from .conftest import Lab


def test_two_runs_tell_in_what_they_differ(lab: Lab) -> None:
    lab.write("src/train.py", "print(1)\nprint('same')\n")
    lab.write("src/same.py", "")
    lab.write("src/old.py", "")
    flags = ["--code", "src", "-q"]
    argv = ["--", "python", "train.py", "--lr", "0.1"]
    assert lab.run("run", "--name", "a", *flags, "--env", "A_TOKEN=secret", "--env", "X=1", *argv).returncode == 0
    lab.write("src/train.py", "print(2)\nprint('same')\n")
    (lab.folder / "src" / "old.py").unlink()
    again = [*flags, "--nodes", "2", "--env", "X=2", *argv[:-1], "0.2", "--amp"]
    assert lab.run("run", "--name", "b", *again).returncode == 0
    packages = lab.run_folder("b") / "packages.json"
    data = json.loads(packages.read_text())
    data["packages"]["torch"] = "0.0"
    packages.write_text(json.dumps(data))

    answer = json.loads(lab.run("show", "a", "--diff", "b", "-o", "json").stdout)
    assert (answer["runId"], answer["otherRunId"]) == ("a", "b")
    found = {(row["section"], row["key"]): (row["value"], row["otherValue"]) for row in answer["differences"]}
    code = {key: values for (section, key), values in found.items() if section == "code"}
    assert code.keys() == {"train.py", "old.py"} and code["old.py"][1] is None
    assert found["arguments", "--lr"] == ("0.1", "0.2") and found["arguments", "--amp"] == (None, "")
    assert found["spec", "resources.instance_count"][1] == "2"
    assert found["environment", "X"] == ("1", "2") and found["environment", "A_TOKEN"] == ("********", None)
    assert found["hosts", "node-1"][0] is None
    assert found["packages", "torch"][1] == "0.0"
    assert "secret" not in json.dumps(answer)

    text = lab.run("show", "a", "--diff", "b").stdout
    assert "-print(1)\n+print(2)\n print('same')\n" in text
    assert text.splitlines()[0].split() == ["SECTION", "WHAT", "a", "b"]
    assert lab.run("show", "a", "--diff", "a").stdout == "runs a and a do not differ\n"
    missing = lab.run("show", "a", "--diff", "c")
    assert missing.returncode == 2 and "there is no run 'c'" in missing.stderr
