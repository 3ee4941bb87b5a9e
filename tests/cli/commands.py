"""The command as a user runs it: bytes in, bytes out, one line of complaint."""

import contextlib
import io
import os
import subprocess

import pytest

from lab.mounts import PROJECT, MountedSystem, command
from lab.waits import SOON
from vfioccw_fuse.cli import main

Done = subprocess.CompletedProcess[bytes]


def vfioccw(*args: object, data: bytes | None = None, **more) -> Done:
    """Run ``vfioccw args``; output is bytes, stdin is ``data``, if any."""
    return subprocess.run(
        command(*args),
        input=data,
        stdin=subprocess.DEVNULL if data is None else None,
        capture_output=True,
        timeout=SOON,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        **more,
    )


def here(*words: object) -> tuple[int, str]:
    """Run `vfioccw words` in this process, for what is asked often: exit status and stdout."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
        main(list(map(str, words)))
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.getvalue()


def complaint(done: Done) -> str:
    """The one line on stderr of a command that failed."""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, done.stderr.decode()
    assert lines[0].startswith("vfioccw: ")
    return lines[0].removeprefix("vfioccw: ")


def run(system: MountedSystem, name: str, *args: object, **more) -> Done:
    """Run ``vfioccw name MNT/0.0.0313 args``."""
    return vfioccw(name, system.subchannel, *args, **more)
