"""What ends a program that goes on: halt, clear, RESET, with the status that each must bring."""

from __future__ import annotations

import pytest

from lab.client import Client
from lab.programs import BITS, CLEAR, FCTL, HALT, START


def halt(client: Client) -> None:
    """HSCH: the start function has ended without device status."""
    assert client.command(BITS["hsch"]) == 0
    irb = client.take()
    assert (irb.ctrl & FCTL, irb.dstat, irb.cstat) == (START | HALT, 0, 0)


def clear(client: Client) -> None:
    """CSCH: nothing but the clear function is told of."""
    assert client.command(BITS["csch"]) == 0
    assert client.take().ctrl & FCTL == CLEAR


def reset(client: Client) -> None:
    """VFIO_DEVICE_RESET, which is silent."""
    (client.directory / "reset").write_text("1")


ending = pytest.mark.parametrize("end", [halt, clear, reset], ids=lambda end: end.__name__)
"""A test with each of them, as *end*."""
