"""The pytest plugin: `vfioccw_fuse.testing` says what it has.

pytest imports this file in every run where vfioccw is installed, so it imports nothing but pytest.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pytest

if TYPE_CHECKING:
    from ..client import Subchannel
    from ..guest.machine import Guest
    from .mounts import Mounted

T = TypeVar("T")
MARKS: Final = (
    "vfioccw_device(device, **image): the device of vfioccw_subchannel, TYPE[,OPTION...], on a new "
    "medium; the keywords are those of vfioccw_image",
    "vfioccw_fault(fault, device=0, **qualifiers): a fault of the devices that the test mounts, as "
    "fault= of vfioccw mount has it; device counts those of each mount, None is every one",
)
"""The marks, as `pytest --markers` shows them."""
_FIRST = 0x313  # number of the first device of a mount
_MEDIA: Final = {
    **dict.fromkeys(("fba", "9336", "3370"), "fba"),
    "3390": "3390",
    **dict.fromkeys(("3420", "3480", "3490"), "tape"),
}
"""Device type -> what `vfioccw image create` makes for it."""
_USUAL: Final[dict[str, dict[str, object]]] = {
    "fba": {"size": "1MiB"},
    "3390": {"cylinders": 2, "format": "cdl"},
    "tape": {},
}
"""What a medium is made with unless the test says."""


def pytest_configure(config: pytest.Config) -> None:
    """Say which marks there are."""
    for mark in MARKS:
        config.addinivalue_line("markers", mark)


def _or_fail(action: Callable[[], T]) -> T:
    """Give what *action* gives; the test fails by the line that vfioccw says, and no traceback."""
    from .mounts import MountFailed

    try:
        return action()
    except MountFailed as failed:
        said = str(failed)
    pytest.fail(said, pytrace=False)


@pytest.fixture
def vfioccw_image(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a medium below the test's directory and gives its path.

    *kind*: `fba`, `3390` or `tape`; the keywords are the options of `vfioccw image create`:
    `size="4MiB"`, `cylinders=10`, `format="ldl"`, `volser="LINUX1"`.
    """
    made = 0

    def make(kind: str = "fba", **options: object) -> Path:
        nonlocal made
        from .mounts import vfioccw

        path = tmp_path / f"vfioccw-{made}.{kind}"
        made += 1
        options = options if "blocks" in options else {**_USUAL.get(kind, {}), **options}
        words: list[object] = []
        for name, value in options.items():
            words += [f"--{name}"] if value is True else [f"--{name}", value]
        _or_fail(lambda: vfioccw("image", "create", kind, path, *words))
        return path

    return make


@pytest.fixture
def vfioccw_mount(
    request: pytest.FixtureRequest, tmp_path: Path, vfioccw_image: Callable[..., Path]
) -> Iterator[Callable[..., Mounted]]:
    """A function that mounts devices and gives a `Mounted`, which ends with the test.

    A device is what `--device` of `vfioccw mount` takes, `fba@0.0.0313:/disk.img,delay=1ms`, or
    without medium and number: `fba,delay=1ms`, `3390`; then both are found. Keywords are further
    options: `interface="async"`, `memory="64MiB"`. Without a device it is an FBA disk.
    """
    from .mounts import Mounted, MountFailed

    systems: list[Mounted] = []

    def mount(*devices: str, **options: object) -> Mounted:
        number = len(systems)
        specs = [
            _spec(device, at, vfioccw_image, tmp_path / f"vfioccw-{number}-{at}")
            for at, device in enumerate(devices or ("fba",))
        ]
        specs = [f"{spec}{_faults(request, at)}" for at, spec in enumerate(specs)]
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        point = tmp_path / f"vfioccw-mount{number}"
        systems.append(_or_fail(lambda: Mounted(point, specs, words)))
        return systems[-1]

    yield mount
    wrong: list[str] = []
    for system in reversed(systems):
        try:
            system.end()
        except MountFailed as failed:
            wrong.append(str(failed))
        sys.stderr.write(system.log())
    if wrong:
        pytest.fail("; ".join(wrong), pytrace=False)


def _spec(device: str, at: int, make: Callable[..., Path], file: Path, **image: object) -> str:
    """A device as `--device` takes it; *file*: where a medium lies that needs not be made."""
    if "@" in device:
        return device
    kind, comma, options = device.partition(",")
    if kind in _MEDIA:
        file = make(_MEDIA[kind], **image)
    elif kind == "3505":
        file.touch()
    return f"{kind}@0.0.{_FIRST + at:04x}:{file}{comma}{options}"


def _faults(request: pytest.FixtureRequest, number: int) -> str:
    """The option `fault=` that the marks of the test say for device *number* of a mount."""
    faults = []
    for mark in request.node.iter_markers("vfioccw_fault"):
        words = dict(mark.kwargs)
        if len(mark.args) != 1:
            pytest.fail(f"mark vfioccw_fault: one fault, not {len(mark.args)}", pytrace=False)
        if words.pop("device", 0) in (None, number):
            # `for` is no name of a keyword in Python.
            qualifiers = [f":{key.rstrip('_')}={value}" for key, value in words.items()]
            faults.append("".join([str(mark.args[0]), *qualifiers]))
    return f",fault={'+'.join(reversed(faults))}" if faults else ""


@pytest.fixture
def vfioccw_subchannel(
    request: pytest.FixtureRequest,
    vfioccw_image: Callable[..., Path],
    vfioccw_mount: Callable[..., Mounted],
    tmp_path: Path,
) -> Subchannel:
    """A client of a device on a mount of its own: of an FBA disk, or what `vfioccw_device` says."""
    mark = request.node.get_closest_marker("vfioccw_device")
    device = "fba"
    if mark is not None:
        if len(mark.args) != 1:
            pytest.fail(f"mark vfioccw_device: one device, not {len(mark.args)}", pytrace=False)
        device = _spec(mark.args[0], 0, vfioccw_image, tmp_path / "vfioccw-medium", **mark.kwargs)
    return vfioccw_mount(device).client()


@pytest.fixture
def vfioccw_guest() -> Iterator[Callable[..., Guest]]:
    """A function that boots an s390x Linux and gives its console; it ends with the test.

    It takes `Mounted`, all of whose devices the guest has, and words as `--device` of `vfioccw
    guest`; the keywords are fields of `vfioccw_fuse.guest.machine.Options`: `tools=True`,
    `memory="1G"`. The first guest of all is fetched, from where this system's packages come.
    """
    with contextlib.ExitStack() as stack:

        def boot(*devices: Mounted | str, **options: Any) -> Guest:
            from ..errors import UserError
            from ..guest import GuestError
            from ..guest.machine import Options, booted

            words: list[str] = []
            for device in devices:
                words += [device] if isinstance(device, str) else map(str, device.subchannels)
            try:
                return stack.enter_context(booted(Options(devices=words, **options)))
            except (GuestError, UserError) as failed:
                said = str(failed)
            pytest.fail(said, pytrace=False)

        yield boot
