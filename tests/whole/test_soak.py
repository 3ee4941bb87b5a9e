"""Everything at once: a minute of `scripts/soak`, in which nothing bad may happen.

No time limits but those of what hangs: an answer that is late says how busy the machine is.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lab.mounts import IMPORTS, PROJECT

HANG = 60
"""Seconds after which a late answer is one that hangs."""


def soak(seed: int, *words: str) -> None:
    command = [sys.executable, "-m", "attack", "--seed", str(seed), "--answer-within", str(HANG)]
    done = subprocess.run(
        [*command, *words],
        cwd=PROJECT, env={**os.environ, "PYTHONPATH": IMPORTS}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.random
def test_a_minute_of_everything(seed: int) -> None:
    soak(seed, "--minutes", "1", "--clients", "4")


@pytest.mark.random
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_minutes_of_everything(seed: int) -> None:
    soak(seed, "--minutes", "5", "--clients", "8")


@pytest.mark.random
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_kills_under_load(seed: int) -> None:
    soak(seed, "--kills", "1000", "--clients", "6")
