"""The two ends that are asked: Linux's driver in a guest, and a mount.

Each gives its answers by case. At both ends the device is a 3390 of a mount that the host can
switch to faults meanwhile: directly, or below QEMU and the guest's driver. The mount is asked by
its files, and by the ioctls of the library that QEMU has.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from ..guest.machine import booted
from ..qemu.build import library
from . import ConformError
from .answers import Answers, sort
from .kernel import CLIENT_IN_GUEST, Driver, build_client, guest_of
from .mounts import SCHID, Subchannel, volume

DEVICE_NUMBER: Final = "0313"
"""The same on both ends, so that the subchannels say the same of it."""
UUID: Final = "5d7d3a4e-0000-4000-8000-000000000313"
"""The name of the guest's device."""
GROUP: Final = "5"
"""The number of its group where the library shows a mount's device; any would do."""
_CALLS: Final = re.compile(r"(?m)^ioctl ")
_ASKED: Final = r"(?m)(.*?)^(?:((?:control|chp) [^\n]*)|@@(\d+)@@)\n"
"""What the client prints up to what its host shall do, or its end."""


def ask_mount(script: str, directory: Path, interface: str = "async") -> Answers:
    """What a mount below *directory* answers to *script*.

    A case that asks by ioctls of its own shape goes through the library for QEMU, which has a
    device to call; the others to the mount's files.
    """
    cases = [case for case in re.split(r"(?m)^(?=case )", script) if case]
    calls = [case for case in cases if _CALLS.search(case)]
    client = build_client(directory, "gcc", "-D_FILE_OFFSET_BITS=64")
    path = directory / "script"
    answers: Answers = {}
    with volume(directory, interface) as subchannel:
        path.write_text("".join(case for case in cases if case not in calls))
        answers |= _ask(subchannel, {}, client, "mount", subchannel.mount, SCHID, path)
        if calls:
            # The library takes no device that somebody has.
            subchannel.until_free()
            path.write_text("".join(calls))
            answers |= _ask(subchannel, {
                "LD_PRELOAD": f"{library()}", "VFIOCCW_DEVICES": f"{subchannel.directory}\t{GROUP}",
            }, client, "driver", GROUP, SCHID, path)  # fmt: skip
    return {name: answers[name] for name in sort(case.split("\n")[0] for case in cases)}


def _ask(subchannel: Subchannel, environment: dict[str, str], *words: str | Path) -> Answers:
    """What the client of the command line *words* prints, with its additions to the environment."""
    with subprocess.Popen(
        words, env={**os.environ, **environment},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as client:  # fmt: skip
        assert client.stdin is not None
        assert client.stdout is not None
        answers = sort(_switching(client.stdout, client.stdin, subchannel))
    if client.returncode:
        raise ConformError(f"the client ended with {client.returncode}")
    return answers


def _switching(
    output: Iterable[str], to_client: IO[str], subchannel: Subchannel
) -> Iterator[str]:
    for line in output:
        if line.startswith(("control ", "chp ")):
            subchannel.switch(line)
            to_client.write("\n")
            to_client.flush()
        else:
            yield line


def ask_driver(script: str, driver: Driver, seconds: float = 600.0) -> tuple[str, Answers]:
    """What *driver* answers to *script* in a guest, within *seconds* for each part of it.

    Which Linux that is comes first.
    """
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="judge-") as name:
        directory = Path(name)
        with volume(directory, "full") as subchannel:
            device = f"{subchannel.directory},devno=fe.0.{DEVICE_NUMBER}"
            with booted(*guest_of(driver, device, directory, script)) as guest:
                release = guest.check("uname -r")
                group = guest.check(f"create-mdev $(bind vfio_ccw 0.0.{DEVICE_NUMBER}) {UUID}")
                guest.send(f"{CLIENT_IN_GUEST} driver {group} {UUID} /script </dev/console")
                while True:
                    found = guest.expect(_ASKED, seconds)
                    lines += found[1].splitlines()
                    if found[2] is None:
                        break
                    subchannel.switch(found[2])
                    guest.type("\n")
                if found[3] != "0":
                    raise ConformError(f"the client ended with {found[3]}: {lines[-3:]}")
                guest.power_off()
    return release, sort(lines)
