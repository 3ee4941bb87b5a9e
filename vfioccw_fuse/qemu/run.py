"""QEMU from its checks to its end, and the mount as it was before.

The byte order of each device is set to the host's, as QEMU keeps its ORB and SCSW, and restored.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from ..children import ending_with_us, wait
from ..errors import UserError
from ..regions.state import is_attached, parse_state
from .build import library
from .options import (
    GuestDevice,
    check_distinct,
    groups_of,
    iommufd_arguments,
    memory_arguments,
)

DEVICES_MAX: Final = 64
"""Most devices that the library serves."""
PASSED_SIGNALS: Final = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT),
)
"""What is sent to us is sent on to QEMU."""
_HELP_SECONDS: Final = 10.0
_NO_LIFE: Final = {
    "STANDBY": "closed; is its mount ending?",
    "NOT_OPER": "not operational; see its file state",
}


def run_qemu(
    devices: Sequence[GuestDevice],
    spares: Sequence[GuestDevice],
    command: Sequence[str],
    holders: Callable[[str], Sequence[int]],
    *,
    iommufd: bool = False,
) -> int:
    """Run the *command* with the *devices*, the *spares* ready for device_add; its exit status.

    With *iommufd* QEMU opens the devices by /dev/iommu, else by group and container; a device's own
    property iommufd goes before that. *holders* gives the processes that have a path open. What can
    be known before is checked before QEMU starts; UserError or OSError says what is wrong then.
    """
    everything = [*devices, *spares]
    check_distinct(everything)
    if len(everything) > DEVICES_MAX:
        raise UserError(f"{len(everything)} devices; at most {DEVICES_MAX} go into one QEMU")
    if not command:
        raise UserError("no command; say -- qemu-system-s390x and its options")
    program = shutil.which(command[0])
    if program is None:
        raise UserError(
            f"{command[0]}: not found; install QEMU for s390x (Debian: qemu-system-s390x)"
        )
    if "-daemonize" in command or "--daemonize" in command:
        raise UserError("-daemonize: QEMU has to stay where it can be waited for; use & instead")
    for device in everything:
        _check(device.directory, holders)
    if iommufd:
        _check_iommufd(program)
    groups = zip(everything, groups_of(everything), strict=True)
    environment = {
        **os.environ,
        "VFIOCCW_DEVICES": "\n".join(f"{device.directory}\t{group}" for device, group in groups),
    }
    arguments = [
        *command,
        *memory_arguments(command),
        *(iommufd_arguments() if iommufd else ()),
        *(word for device in devices for word in device.arguments(iommufd=iommufd)),
    ]
    with contextlib.ExitStack() as stack:
        preload = stack.enter_context(_preloadable(library()))
        others = os.environ.get("LD_PRELOAD", "").split()
        environment["LD_PRELOAD"] = " ".join([str(preload), *others])
        for device in everything:
            stack.enter_context(_host_order(device.directory))
        return _wait(arguments, program, environment)


def _check(directory: Path, holders: Callable[[str], Sequence[int]]) -> None:
    """UserError or OSError unless a QEMU may have the subchannel *directory*."""
    state = _state(directory)
    fsm = state.get("fsm", "")
    if fsm in _NO_LIFE:
        raise UserError(f"{directory}: {_NO_LIFE[fsm]}")
    users = holders(str(directory / "device"))
    if users or is_attached(state):
        who = f"by process {users[0]}" if users else "by another client"
        raise UserError(f"{directory}: in use {who}; end it, or take another device")


def _check_iommufd(program: str) -> None:
    """UserError if *program* is a QEMU without iommufd; another program may well run one with it.

    QEMU lists what -object takes, one name a line, and ends (qom/object_interfaces.c).
    """
    try:
        done = subprocess.run(
            [program, "-object", "help"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=_HELP_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return
    listed = done.stdout.decode(errors="replace").split()
    if "memory-backend-ram" in listed and "iommufd" not in listed:
        raise UserError(
            f"{program}: this QEMU has no iommufd; leave out --iommufd, or take QEMU 9 or newer"
        )


def _state(directory: Path) -> dict[str, str]:
    """The lines of `state`; OSError without a *directory*, UserError if it is no subchannel."""
    os.stat(directory)
    if not (directory / "device_info").exists():
        raise UserError(
            f"{directory}: no subchannel; name its directory, such as MNT/0.0.0313, "
            "as vfioccw ls does"
        )
    return parse_state((directory / "state").read_text())


@contextlib.contextmanager
def _preloadable(path: Path) -> Iterator[Path]:
    """A name of *path* that LD_PRELOAD can hold: blanks and colons end a name there (ld.so(8))."""
    if not set(str(path)) & set(" :"):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="vfioccw-preload-") as directory:
        link = Path(directory) / path.name
        link.symlink_to(path)
        yield link


@contextlib.contextmanager
def _host_order(directory: Path) -> Iterator[None]:
    """Let the device take ORB and SCSW in the host's byte order for a while."""
    control = directory / "control"
    before = _state(directory).get("order", "big")
    control.write_text("order=host")
    try:
        yield
    finally:
        # The mount may have ended meanwhile, and the byte order with it.
        with contextlib.suppress(OSError):
            control.write_text(f"order={before}")


def _wait(arguments: Sequence[str], program: str, environment: dict[str, str]) -> int:
    """Run the program to its end and pass signals on; its exit status, 128 + n after signal n."""
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        if process is None:
            early.append(number)
        else:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in PASSED_SIGNALS}
    try:
        # Our handlers are gone with the exec; what was ignored before us stays ignored.
        process = subprocess.Popen(
            arguments, executable=program, env=environment, preexec_fn=ending_with_us()
        )
        for number in early:
            process.send_signal(number)
        status = wait(process)
    except OSError as error:
        raise UserError(f"{program}: cannot be run: {error.strerror}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status
