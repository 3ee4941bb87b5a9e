"""What every test shares: the --slow switch, what is random, and mounted disks."""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import lab.mounts
from lab.mounts import MountedSystem
from tests.rig import Rig, rigged
from vfioccw_fuse import compiled
from vfioccw_fuse.guest.machine import Guest
from vfioccw_fuse.guest.run import LAST_LINES

# How long an example takes says how busy the machine is. One that fails says how to repeat it.
settings.register_profile(
    "vfioccw",
    settings(),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("vfioccw")


def pytest_configure() -> None:
    """What all tests need of this process: signals, and one answer to what runs compiled."""
    if compiled.pure() is not None:
        os.environ[compiled.SWITCH] = "1"  # children need not find out, nor warn
    # Ctrl-C means what it means: a shell's background job ignores it, and so would children.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)


def pytest_report_header() -> str:
    """Say whether the hot modules run compiled."""
    return f"vfioccw: {compiled.how()}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--slow``, which lets the tests marked ``slow`` run."""
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out (deselect, not skip) ``slow`` without ``--slow``, and ``pure`` where compiled."""
    unwanted = set() if config.getoption("--slow") else {"slow"}
    if compiled.pure() is None:
        unwanted.add("pure")
    out = [item for item in items if unwanted & {mark.name for mark in item.iter_markers()}]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show, of a test that failed with a Linux guest, the last lines of its console."""
    report = yield
    guest = getattr(item, "funcargs", {}).get("guest")
    if report.failed and isinstance(guest, Guest):
        lines = guest.console_text.splitlines()[-LAST_LINES:]
        report.sections.append(("the guest's console", "\n".join(lines)))
    return report


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of this run, for tests marked `random`: the same that Hypothesis has."""
    return int(pytestconfig.getoption("--hypothesis-seed"))


@pytest.fixture
def mnt(tmp_path: Path) -> Iterator[MountedSystem]:
    """A disk mounted for this test alone; after it nothing may be left of the mount."""
    with lab.mounts.mounted(tmp_path) as system:
        yield system


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., MountedSystem]]:
    """A function that mounts, each time below a directory of its own: `lab.mounts.mount`.

    The test may end the mount itself. Nothing may be left in any case.
    """
    systems: list[MountedSystem] = []

    def make(*options: str) -> MountedSystem:
        directory = tmp_path / f"system{len(systems)}"
        directory.mkdir()
        systems.append(lab.mounts.mount(directory, *options))
        return systems[-1]

    try:
        yield make
        for system in systems:
            if not system.ended(0):
                done = system.unmount()
                assert done.returncode == 0, done.stderr
            system.assert_nothing_is_left()
    finally:
        for system in systems:
            system.give_up()


@pytest.fixture
def rig(mnt: MountedSystem) -> Iterator[Rig]:
    """A client of both sides on a mount of its own."""
    with rigged(mnt) as made:
        yield made
