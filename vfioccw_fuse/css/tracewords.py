"""What the events of a trace are called: a line for people of each."""

from __future__ import annotations

from ..regions import codec, descriptions
from ..regions.descriptions import DeviceWords
from ..regions.layouts import Ccw1
from .trace import Event, Executed, Interruption, Lost
from .transfer import INPUT


def ending(status: int, moved: int, code: int) -> str:
    """How a command or a part of its data area ended: `unit status 0c, 7 bytes in`."""
    words = f"unit status {status:02x}" if status else "data chained"
    return f"{words}, {moved} bytes {'in' if INPUT[code] else 'out'}" if moved else words


def words_for(event: Event, device: DeviceWords) -> tuple[str, str]:
    """What *event* is of (an instruction's name, "ccw", "irb", "lost"), and one line for it.

    *device*: what its commands and sense bits are called.
    """
    if isinstance(event, Executed):
        ccw = Ccw1(event.code, event.flags, event.count, event.cda)
        line = descriptions.line_ccw(ccw, device)
        return "ccw", f"{event.address:08x} {line}  {ending(event.status, event.moved, event.code)}"
    if isinstance(event, Interruption):
        line = descriptions.line_irb(codec.IRB.parse(event.irb), device)
        return "irb", f"{line}  joined" if event.joined else line
    if isinstance(event, Lost):
        lost = ((event.ccws, "CCWs"), (event.others, "lines"))
        return "lost", ", ".join(f"{count} {name} lost" for count, name in lost if count)
    text = f"cc {event.cc}"
    if event.orb is not None:
        text += f"  {descriptions.line_orb(event.orb)}"
    return event.name, text
