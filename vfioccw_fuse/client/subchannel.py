"""A subchannel driven through its files: START, HALT, CLEAR, STORE and TEST SUBCHANNEL.

The shape is that of QEMU: `hw/vfio/ccw.c` writes a region and makes a condition code of the errno,
`hw/s390x/css.c` keeps the client's own subchannel-status word, scsw(q), around that. Where this
client does otherwise it says so:

- an errno that is no condition code is raised; QEMU makes up a unit exception for its guest;
- HALT keeps the start function in scsw(q), as PoP 16 has it; QEMU drops it;
- instructions are always sent, also where scsw(q) would know the answer: another client may have
  moved the subchannel, and the server knows better.

Without a cmd region, HALT and CLEAR are tried through the function control of the io region's SCSW,
the way of the patch in the thread; EOPNOTSUPP there means that the interface has START alone.
"""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

from construct import Int8ub, Int16ub, Struct

from ..devices.catalog import words_of
from ..regions import codec, descriptions
from ..regions.constants import (
    CCW_CMD_BASIC_SENSE,
    CCW_CMD_RDC,
    CCW_CMD_SENSE_ID,
    CCW_FLAG_SKIP,
    CCW_FLAG_SLI,
    CCW_SIZE,
    IO_REGION_SIZE,
    IRB_AREA_OFFSET,
    ORB_AREA_OFFSET,
    ORB_CTRL0_MASK_C64,
    ORB_CTRL0_MASK_FMT,
    ORB_CTRL0_MASK_PFCH,
    SCHIB_REGION_SIZE,
    SCSW_ACTL_CLEAR_PEND,
    SCSW_ACTL_DEVICE_ACTIVE,
    SCSW_ACTL_HALT_PEND,
    SCSW_ACTL_RESUME_PEND,
    SCSW_ACTL_START_PEND,
    SCSW_ACTL_SUBCH_ACTIVE,
    SCSW_ACTL_SUSP,
    SCSW_AREA_OFFSET,
    SCSW_CSTAT_PCI,
    SCSW_CTRL_MASK_ACTL,
    SCSW_CTRL_MASK_FCTL,
    SCSW_CTRL_MASK_STCTL,
    SCSW_DSTAT_CHANNEL_END,
    SCSW_DSTAT_DEVICE_END,
    SCSW_DSTAT_UNIT_CHECK,
    SCSW_FCTL_CLEAR_FUNC,
    SCSW_FCTL_HALT_FUNC,
    SCSW_FCTL_START_FUNC,
    SCSW_FLAGS_MASK_CC,
    SCSW_FLAGS_MASK_PNO,
    SCSW_STCTL_INTERMEDIATE,
    SCSW_STCTL_STATUS_PEND,
    VFIO_CCW_ASYNC_CMD_CSCH,
    VFIO_CCW_ASYNC_CMD_HSCH,
    VFIO_CCW_IO_IRQ_INDEX,
)
from ..regions.layouts import CmdRegion, Irb, Orb, Schib, Scsw
from .faults import (
    ClientError,
    NoInterruption,
    ProgramFailed,
    Refused,
    RequestFailed,
    Unsupported,
)
from .irq import IrqEventfd, IrqFile, Listener
from .program import ALL_PATHS, Program, Step
from .regionfiles import RegionFiles
from .storage import GuestStorage

LINUX_CTRL0 = ORB_CTRL0_MASK_FMT | ORB_CTRL0_MASK_PFCH | ORB_CTRL0_MASK_C64
"""What Linux 6.1 puts into every ORB: format-1 CCWs, prefetch, format-2 IDAWs."""
AGAIN_WITHIN = 5.0
"""Seconds for which a request that gets EAGAIN is repeated."""
PROGRAM_WITHIN = 30.0
"""Seconds that `Subchannel.execute` gives a channel program unless it is told otherwise."""
_CLEAR_WITHIN = 30.0  # for the interruption that concludes a clear function
_LONGEST_PAUSE = 0.002  # seconds between two attempts
_MOST_RDC = 64  # bytes: ECKD has the longest device characteristics
_MOST_SENSE_ID = 64  # bytes: seven, then command-information words
_MOST_SENSE = 32

_NOT_OPERATIONAL = (errno.ENODEV, errno.EACCES)
_PENDING = (
    SCSW_ACTL_RESUME_PEND
    | SCSW_ACTL_START_PEND
    | SCSW_ACTL_HALT_PEND
    | SCSW_ACTL_CLEAR_PEND
    | SCSW_ACTL_SUSP
)


def condition_code(number: int) -> int | None:
    """Give the condition code that QEMU's vfio-ccw makes of errno *number* of a request.

    0 for 0, 2 for EBUSY, 3 for ENODEV and EACCES, None for all others: those have none (QEMU shows
    its guest 0 and a made-up unit exception). 1, status pending, comes as EBUSY too, thus as 2.
    """
    if number == 0:
        return 0
    if number == errno.EBUSY:
        return 2
    return 3 if number in _NOT_OPERATIONAL else None


@dataclass(slots=True)
class Statistics:
    """What a `Subchannel` has done so far, for debugging."""

    starts: int = 0
    """SSCH requests sent."""
    halts: int = 0
    """HSCH requests sent."""
    clears: int = 0
    """CSCH requests sent."""
    refused: int = 0
    """Requests that ended with a condition code other than 0."""
    failed: int = 0
    """Requests that failed with an errno that is no condition code."""
    again: int = 0
    """Attempts repeated because of EAGAIN."""
    interruptions: int = 0
    """IRBs taken."""


class SenseId(NamedTuple):
    """What Sense ID tells of a device; common to all types (SA22-7204, "Sense ID")."""

    mark: int = 0
    """0xff: the rest is there."""
    cu_type: int = 0
    """Type number of the control unit, as hexadecimal digits: 0x6310."""
    cu_model: int = 0
    """Its model."""
    dev_type: int = 0
    """Type number of the device, as hexadecimal digits: 0x9336; 0 if it has none."""
    dev_model: int = 0
    """Its model."""

    def __str__(self) -> str:
        """Write it as lscss does: `9336/10 6310/80`, device before control unit."""
        return f"{self.dev_type:04x}/{self.dev_model:02x} {self.cu_type:04x}/{self.cu_model:02x}"


SENSE_ID = codec.Codec(
    Struct(
        "mark" / Int8ub,
        "cu_type" / Int16ub,
        "cu_model" / Int8ub,
        "dev_type" / Int16ub,
        "dev_model" / Int8ub,
    ),
    SenseId,
)
"""The first seven bytes of sense-ID data, big endian."""


class Subchannel:
    """One subchannel of a mount, from the side of its client.

    A context manager. Several may be open on one subchannel, but an interruption is taken by
    whoever reads first, so only one should wait.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        order: Literal["big", "host"] = "big",
        use_eventfd: bool = False,
        through_device: bool = False,
        again_within: float = AGAIN_WITHIN,
    ) -> None:
        """Open the directory *path* (`MNT/0.0.0313`).

        *order*: byte order of the ORB and SCSW that this client writes; the server must have been
        told the same (`order=host`). *use_eventfd*: wait on an eventfd of one's own, handed
        over the mount's socket, not on the file `io_irq`. *through_device*: reach the regions
        through `device`, by the infos, not by their files. *again_within*: seconds for which
        EAGAIN is retried. OSError if it cannot be opened, Unsupported if it is no vfio-ccw.
        """
        self.path = os.path.abspath(path)
        """The subchannel's directory, absolute."""
        self.words = descriptions.EVERY_DEVICE
        """What the device's sense bits are called in errors; `sense_id` sets it."""
        self._host_order = order == "host"
        self._orb = codec.ORB_HOST if self._host_order else codec.ORB
        self._request_scsw = codec.SCSW_HOST if self._host_order else codec.SCSW
        self._again_within = again_within
        self._statistics = Statistics()
        self._scsw = Scsw()
        self._request_buffer = bytearray(IO_REGION_SIZE)
        self._taken: list[int] = []  # bytes of the request that a region took; empty if none did
        self._storage: GuestStorage | None = None
        # Events from before the first request, or from before a clear, belong to interruptions
        # that this client will never see.
        self._events_may_be_stale = True
        self._regions = RegionFiles(self.path, through_device)
        try:
            self._irq = self._open_irq(use_eventfd)
        except BaseException:
            self._regions.close()
            raise

    def _open_irq(self, use_eventfd: bool) -> Listener:
        if use_eventfd:
            return IrqEventfd(self.path, "io_irq", VFIO_CCW_IO_IRQ_INDEX)
        return IrqFile(os.path.join(self.path, "io_irq"))

    def close(self) -> None:
        """Close everything. What runs on the subchannel runs on."""
        self._irq.close()
        self._regions.close()
        if self._storage is not None:
            self._storage.close()
            self._storage = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def storage(self) -> GuestStorage:
        """The mount's guest storage, mapped when it is first asked for."""
        if self._storage is None:
            self._storage = GuestStorage(os.path.join(self.path, "memory"))
        return self._storage

    @property
    def scsw(self) -> Scsw:
        """scsw(q): the subchannel's status as this client knows it.

        Function and activity control follow the requests that were accepted, all of it the IRBs
        that were taken; a request that failed leaves it as it was.
        """
        return self._scsw

    @property
    def irq_fd(self) -> int:
        """A descriptor that is readable while there are interruptions, for an event loop."""
        return self._irq.fd

    def statistics(self) -> Statistics:
        """Give the counts so far; a copy."""
        return replace(self._statistics)

    def has(self, region: str) -> bool:
        """Whether the interface has *region*, such as `"cmd_region"`."""
        return region in self._regions

    # ------------------------------------------------------------------------------ instructions

    def start(self, orb: Orb | int) -> int:
        """START SUBCHANNEL: give the condition code, 0, 2 or 3 (see `condition_code`).

        *orb*: the operation-request block, or the address of a channel program, which is then
        started as Linux does (`LINUX_CTRL0`, all paths). RequestFailed if the write fails with
        another errno, such as EINVAL for a program or data outside storage, EIO for an ORB that is
        an operand exception and when the subchannel is in no state to do anything.
        """
        if isinstance(orb, int):
            orb = Orb(intparm=0, ctrl0=LINUX_CTRL0, lpm=ALL_PATHS, ctrl1=0, cpa=orb)
        self._statistics.starts += 1
        wanted = self._scsw._replace(
            flags=self._scsw.flags & ~SCSW_FLAGS_MASK_PNO,
            ctrl=self._scsw.ctrl | SCSW_FCTL_START_FUNC | SCSW_ACTL_START_PEND,
        )
        if not self._events_may_be_stale:
            return self._accepted("ssch", wanted, lambda: self._io_request(orb, wanted))
        # An accepted start says that no status was pending: what was signalled before it is stale.
        # A refused one says nothing: the events still stand for an interruption.
        stale = self._irq.take()
        cc = -1
        try:
            cc = self._accepted("ssch", wanted, lambda: self._io_request(orb, wanted))
        finally:
            if cc == 0:
                self._events_may_be_stale = False
            elif stale:
                self._irq.put_back(stale)
        return cc

    def halt(self) -> int:
        """HALT SUBCHANNEL: give the condition code, 0, 2 or 3.

        Unsupported if the interface has no halt; RequestFailed for another errno.
        """
        self._statistics.halts += 1
        ctrl = self._scsw.ctrl | SCSW_FCTL_HALT_FUNC | SCSW_ACTL_HALT_PEND
        active = SCSW_ACTL_SUBCH_ACTIVE | SCSW_ACTL_DEVICE_ACTIVE
        if ctrl & active == active and ctrl & SCSW_CTRL_MASK_STCTL == SCSW_STCTL_INTERMEDIATE:
            ctrl &= ~SCSW_STCTL_STATUS_PEND
        wanted = self._scsw._replace(ctrl=ctrl)
        return self._accepted(
            "hsch", wanted, lambda: self._command("hsch", VFIO_CCW_ASYNC_CMD_HSCH, wanted)
        )

    def clear(self) -> int:
        """CLEAR SUBCHANNEL: give the condition code, 0 or 3.

        Unsupported if the interface has no clear; RequestFailed for another errno, EBUSY too: a
        clear is never busy.
        """
        self._statistics.clears += 1
        wanted = self._scsw._replace(
            ctrl=self._scsw.ctrl & ~(SCSW_CTRL_MASK_FCTL | SCSW_CTRL_MASK_ACTL)
            | SCSW_FCTL_CLEAR_FUNC
            | SCSW_ACTL_CLEAR_PEND
        )
        # A clear discards what was shown and not taken, but not the events that announced it.
        stale = self._irq.take()
        cc = -1
        try:
            cc = self._accepted(
                "csch", wanted, lambda: self._command("csch", VFIO_CCW_ASYNC_CMD_CSCH, wanted)
            )
        finally:
            if cc == 0:
                self._events_may_be_stale = True
            elif stale:
                self._irq.put_back(stale)
        return cc

    def store(self) -> Schib:
        """STORE SUBCHANNEL: read the schib region.

        scsw(q) takes over what QEMU takes over: the path-not-operational bit. Unsupported if the
        interface has no schib region, RequestFailed if it cannot be read.
        """
        schib = codec.SCHIB.parse(self._read("schib_region", SCHIB_REGION_SIZE))
        if self._host_order and sys.byteorder == "little":
            # Of a client in host order the server expects that it tests PNO in a host halfword.
            swapped = int.from_bytes(schib.scsw_flags.to_bytes(2, "big"), "little")
            schib = schib._replace(scsw_flags=swapped)
        if schib.scsw_flags & SCSW_FLAGS_MASK_PNO:
            self._scsw = self._scsw._replace(flags=self._scsw.flags | SCSW_FLAGS_MASK_PNO)
        return schib

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for an interruption, at most *timeout* seconds; whether there was one.

        After a clear, one event of before it may still come: see whether the IRB is the clear's.
        """
        return self._irq.wait(timeout)

    def result(self) -> Irb:
        """TEST SUBCHANNEL: take the interruption whose IRB the io region shows.

        Without one pending the area still shows the last. RequestFailed if it cannot be read.
        """
        irb = codec.IRB.parse(self._read("io_region", IO_REGION_SIZE), IRB_AREA_OFFSET)
        self._statistics.interruptions += 1
        self._scsw = _after_test_subchannel(
            Scsw(
                flags=irb.scsw_flags,
                ctrl=irb.scsw_ctrl,
                cpa=irb.scsw_cpa,
                dstat=irb.scsw_dstat,
                cstat=irb.scsw_cstat,
                count=irb.scsw_count,
            )
        )
        return irb

    # ---------------------------------------------------------------------- channel programs

    def execute(self, program: Program | Orb, timeout: float = PROGRAM_WITHIN) -> Irb:
        """Start *program*, wait for its end and give the IRB that concluded it.

        Intermediate interruptions (PCI, initial status) are taken and passed over; channel end and
        device end that come apart are put together. Refused if the start is not accepted,
        ProgramFailed if it did not end well (another client's clear too), NoInterruption if it did
        not end within *timeout* seconds: it is cleared then, as by any other exception on the way
        (Ctrl-C).
        """
        before = self._scsw
        try:
            cc = self.start(program.orb() if isinstance(program, Program) else program)
            if cc:
                raise Refused("ssch", cc)
            irb = self._conclusion(SCSW_FCTL_START_FUNC, timeout)
        except BaseException:
            if self._scsw is not before:  # accepted, though Ctrl-C may have hidden that
                with contextlib.suppress(ClientError, OSError):  # the first error counts
                    self.clear_and_wait()
            raise
        if not ended_well(irb):
            raise ProgramFailed(irb, self._sense_of(irb), self.words)
        return irb

    def clear_and_wait(self, timeout: float = _CLEAR_WITHIN) -> Irb:
        """Clear the subchannel and give the IRB that says that it is done.

        Refused if it is not accepted, NoInterruption if the IRB does not come within *timeout*
        seconds.
        """
        cc = self.clear()
        if cc:
            raise Refused("csch", cc)
        return self._conclusion(SCSW_FCTL_CLEAR_FUNC, timeout)

    def sense(self) -> bytes:
        """Execute Basic Sense: give the sense data, which the device then forgets."""
        return self._read_by_one_ccw(CCW_CMD_BASIC_SENSE, _MOST_SENSE)

    def sense_id(self) -> SenseId:
        """Execute Sense ID: say what the device is."""
        data = self._read_by_one_ccw(CCW_CMD_SENSE_ID, _MOST_SENSE_ID)
        told = SENSE_ID.parse(data.ljust(SENSE_ID.size, b"\0"))
        self.words = words_of(f"{told.dev_type or told.cu_type:04x}")
        return told

    def rdc(self) -> bytes:
        """Execute Read Device Characteristics: 32 bytes from an FBA disk, 64 from an ECKD disk."""
        return self._read_by_one_ccw(CCW_CMD_RDC, _MOST_RDC)

    def _read_by_one_ccw(self, cmd: int, count: int) -> bytes:
        """Execute a program of one input command; give the bytes that came."""
        with Program(self.storage) as program:
            step = program.ccw(cmd, CCW_FLAG_SLI, count)
            program.lay_out()
            return transferred(self.execute(program), step)

    def _sense_of(self, irb: Irb) -> bytes:
        """Give the sense data that goes with *irb*, by a Basic Sense if it brought none."""
        if not irb.scsw_dstat & SCSW_DSTAT_UNIT_CHECK:
            return b""
        return descriptions.sense_of(irb) or self._basic_sense()

    def _basic_sense(self) -> bytes:
        """As `sense`, but empty if the device does not answer: the first error matters more."""
        try:
            return self.sense()
        except (Refused, NoInterruption, ProgramFailed, RequestFailed):
            return b""

    def _conclusion(self, function: int, timeout: float) -> Irb:
        """Take interruptions until one concludes *function* (`SCSW_FCTL_*`).

        NoInterruption after *timeout* seconds.
        """
        deadline = time.monotonic() + timeout
        dstat = 0
        while self.wait(max(0.0, deadline - time.monotonic())):
            irb = self.result()
            if irb.scsw_ctrl & function and not is_intermediate(irb):
                dstat |= irb.scsw_dstat
            if concludes(irb, function):
                return irb._replace(scsw_dstat=dstat or irb.scsw_dstat)
        raise NoInterruption(f"no interruption within {timeout:g} s")

    # ------------------------------------------------------------------------------ requests

    def _accepted(self, instruction: str, wanted: Scsw, request: Callable[[], None]) -> int:
        """Send *request*; give its condition code. scsw(q) becomes *wanted* only with cc 0.

        So it does if the exception of a signal (Ctrl-C) takes the place of that cc 0.
        """
        before = self._scsw
        self._taken.clear()
        # It must be in place before the write: the interruption may be there when that returns.
        self._scsw = wanted
        try:
            request()
        except OSError as failed:
            self._scsw = before
            cc = condition_code(failed.errno or errno.EFAULT)
            if cc is None or (cc == 2 and instruction == "csch"):
                self._statistics.failed += 1
                number = failed.errno or errno.EFAULT
                raise RequestFailed(instruction, number, os.strerror(number)) from None
            self._statistics.refused += 1
            return cc
        except BaseException:
            if not self._taken:
                self._scsw = before
            raise
        return 0

    def _command(self, instruction: str, command: int, wanted: Scsw) -> None:
        """Send HSCH or CSCH: by the cmd region, or by the function control of the io region."""
        if "cmd_region" in self._regions:
            self._write("cmd_region", codec.CMD_REGION.pack(CmdRegion(command, 0)))
            return
        try:
            self._io_request(Orb(), wanted)
        except OSError as failed:
            if failed.errno != errno.EOPNOTSUPP:
                raise
            raise Unsupported(f"{instruction}: the interface of this subchannel has none") from None

    def _io_request(self, orb: Orb, scsw: Scsw) -> None:
        """Write the io region: an ORB and an SCSW whose function control says what is wanted."""
        self._orb.pack_into(self._request_buffer, ORB_AREA_OFFSET, orb)
        self._request_scsw.pack_into(self._request_buffer, SCSW_AREA_OFFSET, scsw)
        self._write("io_region", self._request_buffer)

    def _write(self, region: str, data: bytes | bytearray) -> None:
        """Write a whole region, again and again while it is EAGAIN, as QEMU does, but not for ever.

        OSError with the errno of the last attempt; EFAULT if fewer bytes were taken.
        """
        fd, offset = self._regions[region]
        deadline = 0.0
        pause = 0.0
        while True:
            try:
                # In one call: a signal's exception between the two would lose what was accepted.
                self._taken.extend(map(os.pwrite, (fd,), (data,), (offset,)))
            except BlockingIOError:
                now = time.monotonic()
                deadline = deadline or now + self._again_within
                if now >= deadline:
                    raise
                self._statistics.again += 1
                # The first time only gives way: the lock is held for microseconds.
                time.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2 or 0.00005)
            else:
                [written] = self._taken
                if written != len(data):
                    raise OSError(errno.EFAULT, f"only {written} of {len(data)} bytes written")
                return

    def _read(self, region: str, size: int) -> bytes:
        """Read a whole region; RequestFailed with the errno, or EIO if it is shorter."""
        fd, offset = self._regions[region]
        try:
            data = os.pread(fd, size, offset)
        except OSError as failed:
            number = failed.errno or errno.EIO
            raise RequestFailed(region, number, os.strerror(number)) from None
        if len(data) != size:
            raise RequestFailed(region, errno.EIO, f"{len(data)} of {size} bytes read")
        return data


def _after_test_subchannel(scsw: Scsw) -> Scsw:
    """Give what TEST SUBCHANNEL leaves of a status that it stored.

    PoP 14 "Test Subchannel", as css_do_tsch_update_subch of QEMU does it: status control goes;
    function control and the pending bits go with it, except while only intermediate status was
    pending (PCI, suspended), for then the function goes on.
    """
    ctrl, flags = scsw.ctrl, scsw.flags
    stctl = ctrl & SCSW_CTRL_MASK_STCTL
    if not stctl & SCSW_STCTL_STATUS_PEND:
        return scsw
    halted_while_suspended = ctrl & SCSW_FCTL_HALT_FUNC and ctrl & SCSW_ACTL_SUSP
    ctrl &= ~SCSW_CTRL_MASK_STCTL
    if stctl != SCSW_STCTL_INTERMEDIATE | SCSW_STCTL_STATUS_PEND or halted_while_suspended:
        ctrl &= ~(SCSW_CTRL_MASK_FCTL | _PENDING)
        flags &= ~SCSW_FLAGS_MASK_PNO
    elif ctrl & SCSW_ACTL_SUSP:
        ctrl &= ~SCSW_ACTL_RESUME_PEND
        flags &= ~SCSW_FLAGS_MASK_PNO
    return scsw._replace(ctrl=ctrl, flags=flags)


def is_intermediate(irb: Irb) -> bool:
    """Whether *irb* brings intermediate status alone: the function goes on (PCI, suspended)."""
    stctl = irb.scsw_ctrl & SCSW_CTRL_MASK_STCTL
    return stctl == SCSW_STCTL_INTERMEDIATE | SCSW_STCTL_STATUS_PEND


def concludes(irb: Irb, function: int) -> bool:
    """Whether *irb* ends *function* (`SCSW_FCTL_*`), which was started before.

    A clear, by whomever, ends every other function. Channel end alone does not end a start: the
    device is still active, and device end comes with an interruption of its own.
    """
    if irb.scsw_ctrl & SCSW_FCTL_CLEAR_FUNC:
        return True
    if not irb.scsw_ctrl & function or is_intermediate(irb):
        return False
    return not irb.scsw_ctrl & SCSW_ACTL_DEVICE_ACTIVE or irb.scsw_cstat != 0


def ended_well(irb: Irb) -> bool:
    """Whether *irb* says channel end and device end, and nothing else but PCI."""
    return (
        irb.scsw_dstat == SCSW_DSTAT_CHANNEL_END | SCSW_DSTAT_DEVICE_END
        and not irb.scsw_cstat & ~SCSW_CSTAT_PCI
        and not irb.scsw_flags & SCSW_FLAGS_MASK_CC
    )


def transferred(irb: Irb, step: Step) -> bytes:
    """Give the bytes that the CCW *step* brought in, if *irb* says that it was the last.

    For another CCW than the last the residual count is not known: all of its area.
    """
    residual = irb.scsw_count if irb.scsw_cpa == step.address + CCW_SIZE else 0
    return bytes(step.view[: step.count - residual])


def received(irb: Irb, steps: Sequence[Step]) -> Iterator[tuple[int, Step, bytes]]:
    """Give number, CCW and bytes of every input CCW up to the one that *irb* says was the last.

    A program whose *steps* lie in one piece: an earlier CCW was executed earlier unless a TIC went
    back.
    """
    for number, step in enumerate(steps, 1):
        if irb.scsw_cpa and step.address + CCW_SIZE > irb.scsw_cpa:
            return
        data = transferred(irb, step)
        if data and _is_input(step.cmd) and not step.flags & CCW_FLAG_SKIP:
            yield number, step, data


def _is_input(code: int) -> bool:
    """Whether a command moves data into storage: read, read backward, sense (PoP 15)."""
    return code & 0x03 == 0x02 or code & 0x0F in (0x04, 0x0C)
