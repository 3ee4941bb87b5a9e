"""The two ends that are asked: Linux's driver in a guest, and a subchannel of a mount.

Each gives its answers by case. At both ends the device is a 3390 of a mount that the host can
switch to faults meanwhile: directly, or below QEMU and the guest's driver. The mount is asked by
its files, and by the ioctls of the library that QEMU has.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from ..children import ending_with_us, lines
from ..guest.machine import ConsoleError, Guest, Options
from ..guest.parts import Parts
from ..guest.run import LAST_LINES, panic_of
from ..qemu.build import library
from . import ConformError
from .answers import Answers, Told, heard
from .kernel import CLIENT_IN_GUEST, DEVICE, Driver, build_client, guest_of
from .mounts import Subchannel, volume

UUID: Final = "5d7d3a4e-0000-4000-8000-000000000313"
"""The name of the guest's device."""
GROUP: Final = "5"
"""The number of its group where the library shows a mount's device; any would do."""
SILENT_SECONDS: Final = 600.0
"""A guest that does not come to the end of the script, or to what its host shall do, hangs."""
_CASES: Final = re.compile(r"(?m)^(?=case )")
_CALLS: Final = re.compile(r"(?m)^ioctl ")
_ASKED: Final = r"(?m)(.*?)^(?:((?:control|chp) [^\n]*)|@@(\d+)@@)\n"
"""What the client prints up to what its host shall do, or its end."""


def ask_mount(script: str, directory: Path, interface: str = "async") -> Answers:
    """What a mount that is made below *directory* answers to *script*."""
    with volume(directory, interface) as subchannel:
        return ask_subchannel(script, subchannel, directory)


def ask_subchannel(script: str, subchannel: Subchannel, directory: Path) -> Answers:
    """What a *subchannel* answers to *script*; files are made in *directory*.

    A case that asks by ioctls of its own shape goes through the library for QEMU, which has a
    device to call; the others to the mount's files.
    """
    cases = [case for case in _CASES.split(script) if case]
    calls = [case for case in cases if _CALLS.search(case)]
    files = [case for case in cases if case not in calls]
    answers: Answers = {}
    with subchannel.lent():
        if files:
            words = ("mount", f"{subchannel.mount}", subchannel.schid)
            answers |= _ask(files, words, {}, subchannel, directory)
        if calls:
            words = ("container", GROUP, subchannel.schid)
            answers |= ask_library(calls, words, subchannel, directory)
    return {name: answers[name] for name in (case.partition("\n")[0][5:] for case in cases)}


def ask_library(
    cases: Iterable[str], words: Iterable[str], subchannel: Subchannel, directory: Path
) -> Answers:
    """What the library for QEMU answers to *cases*, asked the way that *words* say."""
    # It takes no device that somebody has.
    subchannel.until_free()
    devices = f"{subchannel.directory}\t{GROUP}"
    environment = {"LD_PRELOAD": f"{library()}", "VFIOCCW_DEVICES": devices}
    return _ask(cases, words, environment, subchannel, directory)


def _ask(
    cases: Iterable[str],
    words: Iterable[str],
    environment: dict[str, str],
    subchannel: Subchannel,
    directory: Path,
) -> Answers:
    """What the client prints, with the operands *words* and additions to the *environment*."""
    client = build_client(directory, "gcc", "-D_FILE_OFFSET_BITS=64")
    script = directory / "script"
    script.write_text("".join(cases))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [client, *words, script], env={**os.environ, **environment},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            preexec_fn=ending_with_us(),
        )  # fmt: skip
        with process:
            try:
                assert process.stdin is not None
                said = list(_switching(lines(process), process.stdin, subchannel))
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            errors.seek(0)
            raise ConformError(errors.read().decode(errors="replace").strip())
    return heard(said).answers


def _switching(
    output: Iterable[bytes], to_client: IO[bytes], subchannel: Subchannel
) -> Iterator[str]:
    for line in output:
        if line.startswith((b"control ", b"chp ")):
            subchannel.switch(line.decode())
            # Should it have ended meanwhile, its exit status says so.
            with suppress(BrokenPipeError):
                to_client.write(b"\n")
                to_client.flush()
        else:
            yield line.decode()


def ask_driver(script: str, driver: Driver, *, iommufd: bool = False) -> Told:
    """What *driver* answers to *script* in a guest, by group and container or by *iommufd*.

    GuestError or ConformError if it does not come to an end; the last lines of the guest's console
    are on stderr then.
    """
    with driver_end(driver, script, iommufd=iommufd) as ask:
        return ask(script)


@contextmanager
def driver_end(
    driver: Driver, first: str = "", *, iommufd: bool = False
) -> Iterator[Callable[[str], Told]]:
    """A guest whose *driver* is asked one script after the other; errors as `ask_driver`.

    *first* is in the guest from the beginning. Another is typed, so that its lines must be shorter
    than the 4,096 bytes of a terminal's.
    """
    with tempfile.TemporaryDirectory(prefix="conform-") as name:
        directory = Path(name)
        with volume(directory, "full") as subchannel:
            device = f"{subchannel.directory},devno=fe.{DEVICE[2:]}"
            options = guest_of(driver, device, directory, first)
            with _booted(*options) as guest:
                group, *nodes = guest.check(f"create-mdev {UUID}").split()
                if iommufd and not nodes:
                    raise ConformError(
                        "this kernel has no iommufd for vfio_ccw (CONFIG_VFIO_DEVICE_CDEV; Linux "
                        "6.6 or newer); leave out --iommufd"
                    )
                way = f"container {group} {UUID}"
                if iommufd:
                    way = f"iommufd /dev/vfio/devices/{nodes[0]}"

                def ask(script: str) -> Told:
                    if script != first:
                        guest.check(f"cat >/script <<'@@'\n{script}@@")
                    guest.send(f"{CLIENT_IN_GUEST} {way} /script </dev/console")
                    return heard(_console(guest, subchannel))

                yield ask
                guest.power_off()


@contextmanager
def _booted(options: Options, parts: Parts) -> Iterator[Guest]:
    """As `booted`; the end of the console of one that fails is on stderr, the error is one line."""
    guest = Guest(options, parts)
    try:
        guest.boot()
        yield guest
    except ConsoleError as error:
        print(*guest.console_text.splitlines()[-LAST_LINES:], sep="\n", file=sys.stderr, flush=True)
        why = panic_of(guest.console_text.encode())
        what = f"the guest's kernel panicked: {why}" if why else f"the guest failed: {error.what}"
        raise ConformError(f"{what}; look at its console above") from None
    finally:
        guest.close()


def _console(guest: Guest, subchannel: Subchannel) -> Iterator[str]:
    """The client's lines in the guest; ConformError if it fails."""
    while True:
        found = guest.expect(_ASKED, SILENT_SECONDS)
        yield from found[1].splitlines()
        if found[2] is None:
            break
        subchannel.switch(found[2])
        guest.type("\n")
    if found[3] != "0":
        raise ConformError(f"the client in the guest ended with {found[3]}: {found[1].strip()}")
