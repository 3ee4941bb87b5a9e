"""What a subchannel does, as lines for people: a `css.subchannel.Observer` that writes."""

from __future__ import annotations

from collections.abc import Callable

from ..regions import codec, descriptions
from ..regions.descriptions import EVERY_DEVICE, DeviceWords
from ..regions.layouts import Ccw1, Orb


class Trace:
    """Writes one line for each instruction, CCW and interruption."""

    def __init__(
        self, write: Callable[[str, str], None], device: DeviceWords = EVERY_DEVICE
    ) -> None:
        """*write* gets what it was (an instruction's name, "ccw", "irb") and the words for it.

        *device*: what its commands and sense bits are called.
        """
        self._write = write
        self._device = device

    def instruction(self, name: str, cc: int, orb: Orb | None = None) -> None:
        """An I/O instruction got its condition code; *orb* is that of a START."""
        text = f"cc {cc}"
        if orb is not None:
            text += f"  {descriptions.line_orb(orb)}"
        self._write(name, text)

    def ccw(self, address: int, code: int, flags: int, count: int, cda: int, status: int) -> None:
        """A CCW was executed, or fetched for its data area (*status* 0)."""
        line = descriptions.line_ccw(Ccw1(code, flags, count, cda), self._device)
        ending = f"unit status {status:02x}" if status else "data chained"
        self._write("ccw", f"{address:08x} {line}  {ending}")

    def interruption(self, irb: bytes, *, joined: bool) -> None:
        """The subchannel became status pending with this IRB, or what is pending became it."""
        line = descriptions.line_irb(codec.IRB.parse(irb), self._device)
        self._write("irb", f"{line}  joined" if joined else line)
