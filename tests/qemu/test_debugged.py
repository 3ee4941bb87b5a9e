"""A guest whose channel programs somebody stops: what the page on debugging says of Linux."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.mounts import PROJECT
from lab.typed import blocks, sections
from lab.waits import until
from tests.qemu.conftest import Lab, laboratory, make_eckd
from vfioccw_fuse.guest.machine import Guest
from vfioccw_fuse.regions import codec
from vfioccw_fuse.regions import constants as c

ECKD, BUS = "0.0.0313", "0.0.1234"
PAGE = PROJECT / "vfioccw_fuse" / "docs" / "debug.md"
[EXPIRES], [FAULT] = blocks(sections(PAGE.read_text())["Under a Linux guest"])
READ = "(dd if=/dev/dasda bs=4k skip=20 count=2 iflag=direct | md5sum >/sum) >/dev/null 2>&1 &"


class Attached:
    """Somebody who is attached to the file `debug` of a subchannel."""

    def __init__(self, subchannel: Path) -> None:
        self._fd = os.open(subchannel / "debug", os.O_RDWR)
        self._events = self._read()
        self.ask(do="attach")
        self.comes("attached")

    def _read(self) -> Iterator[dict[str, Any]]:
        text = b""
        while piece := os.read(self._fd, 1 << 16):
            *lines, text = (text + piece).split(b"\n")
            yield from map(json.loads, lines)

    def ask(self, **request: Any) -> None:
        os.write(self._fd, json.dumps(request).encode())

    def comes(self, name: str) -> dict[str, Any]:
        """The next event of this name."""
        return next(event for event in self._events if event["event"] == name)

    def detach(self) -> None:
        os.close(self._fd)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with laboratory(tmp_path_factory.mktemp("debugged")) as made:
        made.mount(f"3390@{ECKD}:{make_eckd(made.directory / 'vol.ckd', 2)}")
        yield made


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[Guest]:
    with lab.guest(lab.device(ECKD, BUS[4:])) as running:
        assert running.check(f"online {BUS}") == "dasda"
        yield running
        assert running.power_off() == 0


@pytest.fixture
def attached(lab: Lab, guest: Guest) -> Iterator[Attached]:
    made = Attached(lab.path / ECKD)
    guest.check("rm -f /sum")
    yield made
    made.detach()


def reads_all(guest: Guest) -> None:
    """What was read while somebody was attached is what is read now."""
    until(lambda: guest.run("[ -s /sum ]")[0] == 0, "the guest has read")
    now = guest.check("dd if=/dev/dasda bs=4k skip=20 count=2 iflag=direct 2>/dev/null | md5sum")
    assert guest.check("cat /sum") == now


def test_a_start_that_is_stopped_for_too_long_is_cleared_and_comes_again(
    guest: Guest, attached: Attached
) -> None:
    assert EXPIRES.startswith("# echo 600 ")
    guest.check(EXPIRES.removeprefix("# ").replace("600", "2"))
    guest.check(READ)
    attached.comes("stopped")
    attached.comes("cancelled")
    irb = codec.IRB.parse(bytes.fromhex(attached.comes("interruption")["irb"]))
    assert irb.scsw_ctrl & c.SCSW_FCTL_CLEAR_FUNC
    assert attached.comes("stopped")["why"] == "start"
    attached.ask(do="go", until="unit check")
    guest.check(EXPIRES.removeprefix("# "))
    reads_all(guest)
    assert "timed out (2s)" in guest.check(f"dmesg | grep {BUS}")


@pytest.mark.parametrize("function", ["hsch", "csch"])
def test_what_somebody_halts_or_clears_is_read_all_the_same(
    guest: Guest, attached: Attached, function: str
) -> None:
    guest.check(READ)
    attached.comes("stopped")
    attached.ask(do=function)
    attached.comes("interruption")
    attached.ask(do="go", until="unit check")
    reads_all(guest)


def test_a_command_that_is_let_fail_is_stopped_at_and_recovered(
    lab: Lab, guest: Guest, attached: Attached
) -> None:
    words, _, control = FAULT.removeprefix("$ echo ").partition(" >")
    assert control == f"m/{ECKD}/control"
    lab.control(ECKD, words)
    attached.ask(do="go", until="unit check")
    guest.check(READ)
    stopped = attached.comes("stopped")
    assert stopped["why"] == "unit check"
    assert stopped["sense"].startswith("1000")
    assert stopped["last"]["status"] == c.SCSW_DSTAT_UNIT_CHECK | 0x0C
    attached.ask(do="go", until="unit check")
    reads_all(guest)
