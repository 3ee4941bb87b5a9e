"""scripts/guest-faults: no fault that Linux recovers from costs it data."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lab.mounts import PROJECT

SCRIPT = PROJECT / "scripts" / "guest-faults"


@pytest.mark.random
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("interface", ["full", "async"])
def test_a_guest_keeps_its_data_and_recovers(seed: int, interface: str) -> None:
    done = subprocess.run(
        [SCRIPT, "--rounds", "2", "--seed", str(seed), "--interface", interface],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_help_says_when_the_exit_status_is_not_0() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faults", "--help"],
        cwd=PROJECT, env={"PYTHONPATH": "scripts:."}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "1 if not" in " ".join(done.stdout.split())
