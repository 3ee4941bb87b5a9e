"""What people read: `state`."""

from __future__ import annotations

from ..devices.base import Device
from ..devices.faults import show_faults
from ..devices.options import show_time
from ..errors import printable
from .device import CcwDevice


def _identity(device: Device) -> list[str]:
    """Device type and control unit with their models, as Sense ID says them, and the medium."""
    lines = []
    identity = device.sense_id
    if len(identity) >= 7:
        lines = [
            f"devtype: {identity[4:6].hex()}/{identity[6:7].hex()}",
            f"cutype: {identity[1:3].hex()}/{identity[3:4].hex()}",
        ]
    lines.append(f"medium: {device.spec.path if device.spec else ''}")
    for medium in device.media[:1]:
        lines += [
            f"medium.reads: {medium.reads}",
            f"medium.writes: {medium.writes}",
            f"medium.sync: {medium.sync}",
        ]
    if device.reserved:
        lines.append(f"reservation: {device.reserved}")
    return lines


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
        f"delay: {show_time(sch.behaviour.delay)}",
        f"fault: {show_faults(sch.behaviour.faults)}",
        f"interruptions_shown: {int(driver.status.shown)}",
        f"interruptions_queued: {driver.status.queued}",
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
    if not "".join(lines).isprintable():
        lines = list(map(printable, lines))
    return "\n".join([*lines, ""])
