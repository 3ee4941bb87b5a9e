"""What people read and write: `state`, `control` and the lines of `trace`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from ..devices.base import Device
from ..devices.options import BEHAVIOUR_WORDS
from ..errors import UserError
from ..regions import constants as c
from .device import CcwDevice

SWITCHES: Final = BEHAVIOUR_WORDS | {"csense", "order", "address-limit"}
"""Words that stay as they are set; `--device` takes them too."""
EVENTS: Final = frozenset({"unsolicited", "request"})
"""Words that make something happen once."""


def control_text(device: CcwDevice) -> str:
    """What `control` shows: one `word=value` a line, in the form in which it can be written."""
    words = {
        **device.sch.behaviour.words(),
        "csense": "on" if device.sch.pmcw.concurrent_sense else "off",
        "order": device.driver.io.order,
        "address-limit": f"{device.sch.address_limit:#x}",
    }
    return "".join(f"{word}={value}\n" for word, value in words.items())


def apply_control(device: CcwDevice, text: str) -> None:
    """Do what was written into `control`: words apart by blanks, commas or lines.

    `unsolicited=80` lets the device present that unit status (hex; 80 is attention) by itself,
    `request=unplug` asks the client by req_irq to let the device go. UserError names what is wrong;
    then nothing has changed.
    """
    words: dict[str, str] = {}
    for word in text.replace(",", " ").split():
        name, equals, value = word.partition("=")
        if name not in SWITCHES | EVENTS or not equals:
            raise UserError(f"{word}: control takes {', '.join(sorted(SWITCHES | EVENTS))} =value")
        words[name] = value
    dstat = words.pop("unsolicited", None)
    if dstat is not None and not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,2}", dstat):
        raise UserError(f"unsolicited={dstat}: a unit status in hex, such as 80")
    request = words.pop("request", None)
    if request not in (None, "unplug"):
        raise UserError(f"request={request}: only unplug can be requested")
    if request and c.VFIO_CCW_REQ_IRQ_INDEX not in device.irqs:
        raise UserError(f"request={request}: interface {device.interface} has no req_irq")
    switch_subchannel(device, words)
    if dstat is not None:
        device.sch.unsolicited(int(dstat, 16))
    if request:
        device.irqs[c.VFIO_CCW_REQ_IRQ_INDEX].signal()


def switch_subchannel(device: CcwDevice, words: dict[str, str]) -> None:
    """Set fault, timing, concurrent sense and byte order; UserError changes nothing."""
    order = words.get("order", device.driver.io.order)
    if order not in ("big", "host"):
        raise UserError(f"order={order}: big or host")
    csense = words.get("csense", "on" if device.sch.pmcw.concurrent_sense else "off")
    if csense not in ("on", "off", ""):
        raise UserError(f"csense={csense}: on or off")
    limit = words.get("address-limit", "0")
    try:
        address = int(limit, 0)
    except ValueError:
        address = -1
    if not 0 <= address < 1 << 31:
        raise UserError(f"address-limit={limit}: an absolute address below 2 GiB, such as 0x100000")
    device.sch.behaviour.apply(words)
    if "address-limit" in words:
        device.sch.address_limit = address
    device.driver.io.order = order
    mask = c.PMCW_CHARS_MASK_CSENSE
    pmcw = device.sch.pmcw
    pmcw.chars = pmcw.chars & ~mask | (0 if csense == "off" else mask)


def _identity(device: Device) -> list[str]:
    """Device type and control unit with their models, as Sense ID says them, and the medium."""
    lines = []
    identity = device.sense_id
    if len(identity) >= 7:
        lines = [
            f"devtype: {identity[4:6].hex()}/{identity[6:7].hex()}",
            f"cutype: {identity[1:3].hex()}/{identity[3:4].hex()}",
        ]
    return [*lines, f"medium: {device.medium}"]


def state_text(device: CcwDevice) -> str:
    """What `state` shows: `key: value` lines."""
    from ..regions import descriptions

    sch = device.sch
    driver = device.driver
    counters = sch.counters
    lines = [
        f"subchannel: {sch.schid}",
        f"device: {sch.device.name}",
        *_identity(sch.device),
        f"interface: {device.interface}",
        f"order: {driver.io.order}",
        f"fsm: {driver.state.name}",
        f"scsw: {sch.scsw.pack().hex()}",
        *(f"scsw.{row.field}: {row.value} {row.meaning}".rstrip()
          for row in descriptions.describe_scsw(sch.scsw.pack())),
        f"pmcw: {sch.pmcw.pack().hex()}",
        *(f"pmcw.{row.field}: {row.value} {row.meaning}".rstrip()
          for row in descriptions.describe_pmcw(sch.pmcw.pack())),
        f"delay: {sch.behaviour.delay:g}s",
        f"fault: {sch.behaviour.fault.value}",
        f"interruptions_shown: {int(sch.pending.shown)}",
        f"interruptions_queued: {len(sch.pending.queue)}",
        f"starts: {counters.starts}",
        f"halts: {counters.halts}",
        f"clears: {counters.clears}",
        f"interruptions: {sch.pending.taken}",
        f"ebusy_status_pending: {driver.counters.ebusy_status_pending}",
        f"ebusy_busy: {driver.counters.ebusy_busy}",
        f"resets: {driver.counters.resets}",
    ]  # fmt: skip
    for irq, name in zip(device.irqs.values(), ("io_irq", "crw_irq", "req_irq"), strict=False):
        seen = irq.statistics()
        lines += [
            f"{name}.signals: {seen.signals}",
            f"{name}.count: {seen.count}",
            f"{name}.attached: {int(seen.attached)}",
        ]
    return "\n".join(lines) + "\n"


class Tracer:
    """Follows one device and gives each line to a writer, with the time since it began."""

    def __init__(self, device: CcwDevice, write: Callable[[str, str], None]) -> None:
        """*write* gets what each line is of (`ccw`, `irb`, `ssch` ...), and it with its newline."""
        self._device = device
        self._write = write
        self._start = 0.0

    def start(self) -> None:
        """Follow the device from now on."""
        from ..css.trace import Trace

        self._start = time.monotonic()
        trace = Trace(self._line, self._device.sch.device.type_name)
        self._device.driver.trace = self._device.sch.observer = trace

    def stop(self) -> None:
        """Follow it no more."""
        self._device.driver.trace = self._device.sch.observer = None

    def _line(self, what: str, text: str) -> None:
        seconds = time.monotonic() - self._start
        self._write(what, f"{seconds:12.6f} {self._device.sch.schid} {what:5} {text}\n")
