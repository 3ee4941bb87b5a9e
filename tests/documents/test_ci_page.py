"""The workflow of the page `ci`: valid, and its job without a guest does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lab.mounts import PROJECT
from lab.typed import clean_up, files
from lab.waits import SOON

NAME = ".github/workflows/vfioccw.yml"
WORKFLOW = files((PROJECT / "vfioccw_fuse" / "docs" / "ci.md").read_text())[NAME]
JOBS = YAML(typ="safe").load(WORKFLOW)["jobs"]
CHECK = "check:\n\tvfioccw ssch $(DEVICE) --ccw sense-id,sli,20\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text(CHECK)
    (tmp_path / "vfioccw.yml").write_text(WORKFLOW)
    return tmp_path


def test_the_workflow_is_what_its_host_understands(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema",
         "--builtin-schema", "vendor.github-workflows", repository / "vfioccw.yml"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_job_of_a_vmm_does_what_it_says(repository: Path) -> None:
    steps = [step for step in JOBS["vmm"]["steps"] if "run" in step]
    assert steps[0]["name"] == "Install"
    try:
        for step in steps[1:]:
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]], cwd=repository, capture_output=True, text=True,
                env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
                timeout=SOON, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (step["name"], done.stdout, done.stderr)
    finally:
        clean_up(repository)


def test_each_job_may_mount() -> None:
    for job in JOBS.values():
        assert "--privileged --device /dev/fuse" in job["container"]["options"]
