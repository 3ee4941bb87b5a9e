"""Continuous integration: a valid workflow, which runs `.ci/run` on both Debians."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parents[1]
WORKFLOW = PROJECT / ".github" / "workflows" / "ci.yml"


def test_the_workflow_is_what_its_host_understands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema",
         "--builtin-schema", "vendor.github-workflows", WORKFLOW],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_runs_everything_on_both_debians() -> None:
    (job,) = YAML(typ="safe").load(WORKFLOW)["jobs"].values()
    matrix = job["strategy"]["matrix"]["debian"]
    container = job["container"]
    assert [container["image"].replace("${{ matrix.debian }}", debian) for debian in matrix] == [
        "debian:12",
        "debian:13",
    ]
    assert "--privileged" in container["options"]
    assert "/dev/fuse" in container["options"]
    *preparing, last = [step["run"] for step in job["steps"] if "run" in step]
    assert last == ".ci/run"
    assert {command.split()[0] for command in preparing} == {"apt-get", "git"}
