"""The structures of the interface, each declared once, in Construct.

Declared by whole words: a Construct bit structure costs 200 to 700 us a request, a struct of words
ten, and what `codec` makes of it less than one.  The bits of a word stand beside it, in `BITS`, as
named masks.  Beside each layout stands the type of its values, a NamedTuple with the same fields in
the same order; `codec` checks at import that they agree.  A nested structure's fields carry its
name as a prefix there (`scsw_cpa`).  Every default is zero, the architecture's "nothing said".

Byte order: everything that the channel subsystem defines (ORB, SCSW, IRB, SCHIB, CCW, IDAW, MIDAW)
is big endian; what the vfio driver defines (commands, return codes, CRW halves, the info structs)
is the host's.  `ORB_HOST` and `SCSW_HOST` are the same declarations in the host's order, field by
field, for clients that keep these two so (`order=host`).

`count` and `index` are the manual's and Linux's words and stay, although they hide two methods that
a tuple has (to mypy that is an assignment of the wrong type; nobody needs the methods).

Sources: Principles of Operation, chapters 15 (ORB, CCW, IDAW, MIDAW, PMCW, SCHIB), 16 (IRB, SCSW,
ESW, ECW) and 17 (CRW); `linux/vfio_ccw.h` and `linux/vfio.h` for the rest.
Nothing else in this project says where a field lies.
"""

from types import MappingProxyType
from typing import Any, NamedTuple

from construct import (
    Bytes,
    Int8ub,
    Int16ub,
    Int16un,
    Int24ub,
    Int32ub,
    Int32un,
    Int64ub,
    Int64un,
    Struct,
)

from . import constants as c


class Words(NamedTuple):
    """The unsigned integers of one byte order, so that one declaration serves two orders."""

    u16: Any
    """16 bits (Construct ships no types)."""
    u32: Any
    """32 bits."""


BIG = Words(Int16ub, Int32ub)
HOST = Words(Int16un, Int32un)


class Bit(NamedTuple):
    """A bit or a bit field of a word."""

    name: str
    """Its name in Linux's struct (`pfch`, `isc`), unique within its word."""
    mask: int
    """Where it lies in the word, not shifted."""

    def get(self, word: int) -> int:
        """The field's value out of *word*, shifted down to bit 0."""
        return (word & self.mask) // (self.mask & -self.mask)

    def put(self, value: int) -> int:
        """*value* shifted up to where it lies in the word; ValueError if it does not fit."""
        word = value * (self.mask & -self.mask)
        if word & ~self.mask:
            raise ValueError(f"{self.name}: {value} does not fit under mask {self.mask:#x}")
        return word


# ------------------------------------------------------------------------------------------- ORB


def _orb(words: Words) -> Any:
    return Struct(
        "intparm" / words.u32,
        "ctrl0" / words.u16,
        "lpm" / Int8ub,
        "ctrl1" / Int8ub,
        "cpa" / words.u32,
    )


ORB = _orb(BIG)
ORB_HOST = _orb(HOST)


class Orb(NamedTuple):
    """Operation-request block, words 0 to 2: what START SUBCHANNEL is asked to do."""

    intparm: int = 0
    """Interruption parameter, 32 bits, given back with every interruption."""
    ctrl0: int = 0
    """16 bits: key and controls, `ORB_CTRL0_MASK_*`."""
    lpm: int = 0
    """Logical-path mask, 8 bits: the channel paths that may be used."""
    ctrl1: int = 0
    """8 bits: `ORB_CTRL1_MASK_*`."""
    cpa: int = 0
    """Channel-program address: guest absolute address of the first CCW, a multiple of 8."""


# ------------------------------------------------------------------------------------------ SCSW


def _scsw(words: Words) -> Any:
    return Struct(
        "flags" / words.u16,
        "ctrl" / words.u16,
        "cpa" / words.u32,
        "dstat" / Int8ub,
        "cstat" / Int8ub,
        "count" / words.u16,
    )


SCSW = _scsw(BIG)
SCSW_HOST = _scsw(HOST)


class Scsw(NamedTuple):
    """Subchannel-status word."""

    flags: int = 0
    """16 bits: key, deferred condition code and what the ORB said, `SCSW_FLAGS_MASK_*`."""
    ctrl: int = 0
    """16 bits: function, activity and status control, `SCSW_FCTL_*`, `_ACTL_*`, `_STCTL_*`."""
    cpa: int = 0
    """Address of the last CCW plus 8, when valid."""
    dstat: int = 0
    """Device (unit) status, 8 bits, `SCSW_DSTAT_*`."""
    cstat: int = 0
    """Subchannel (channel) status, 8 bits, `SCSW_CSTAT_*`."""
    count: int = 0  # type: ignore[assignment]
    """Residual count of the last CCW in bytes, when valid."""


# ---------------------------------------------------------------------------------- ESW, ECW, IRB

ESW = Struct(
    "logout" / Int32ub,
    "erw" / Int32ub,
    "fsa" / Int64ub,
    "saddr" / Int32ub,
)


class Esw(NamedTuple):
    """Extended-status word.  Formats differ in word 0 alone, and only format 0 uses words 2-4."""

    logout: int = 0
    """Word 0.  Format 0: subchannel logout, `SUBLOG_*`; 1: zero, LPUM, zero; 2: zero, LPUM,
    device-connect time (128 us a unit); 3: zero, LPUM, undefined."""
    erw: int = 0
    """Word 1, extended-report word, `ERW_*`."""
    fsa: int = 0
    """Words 2-3, failing-storage address; with `ERW_FSAF` zero only its first word counts."""
    saddr: int = 0
    """Word 4, secondary-CCW address."""


ECW = Struct("data" / Bytes(c.ECW_SIZE))


class Ecw(NamedTuple):
    """Extended-control word."""

    data: bytes = bytes(c.ECW_SIZE)
    """Concurrent sense data if the ERW says so; else model-dependent."""


IRB = Struct(
    "scsw" / SCSW,
    "esw" / ESW,
    "ecw" / Bytes(c.ECW_SIZE),
    "emw" / Bytes(c.EMW_SIZE),
)


class Irb(NamedTuple):
    """Interruption-response block: what TEST SUBCHANNEL stores."""

    scsw_flags: int = 0
    """As `Scsw.flags`."""
    scsw_ctrl: int = 0
    """As `Scsw.ctrl`."""
    scsw_cpa: int = 0
    """As `Scsw.cpa`."""
    scsw_dstat: int = 0
    """As `Scsw.dstat`."""
    scsw_cstat: int = 0
    """As `Scsw.cstat`."""
    scsw_count: int = 0
    """As `Scsw.count`."""
    esw_logout: int = 0
    """As `Esw.logout`."""
    esw_erw: int = 0
    """As `Esw.erw`."""
    esw_fsa: int = 0
    """As `Esw.fsa`."""
    esw_saddr: int = 0
    """As `Esw.saddr`."""
    ecw: bytes = bytes(c.ECW_SIZE)
    """Extended-control word: concurrent sense data."""
    emw: bytes = bytes(c.EMW_SIZE)
    """Extended-measurement word; zero unless the subchannel's extended mode is on."""


# ----------------------------------------------------------------------------------- PMCW, SCHIB

PMCW = Struct(
    "intparm" / Int32ub,
    "flags" / Int16ub,
    "devno" / Int16ub,
    "lpm" / Int8ub,
    "pnom" / Int8ub,
    "lpum" / Int8ub,
    "pim" / Int8ub,
    "mbi" / Int16ub,
    "pom" / Int8ub,
    "pam" / Int8ub,
    "chpid" / Bytes(8),
    "chars" / Int32ub,
)


class Pmcw(NamedTuple):
    """Path-management-control word: how a subchannel is set up, and its paths.

    In every path mask bit 0 (0x80) is the path of `chpid[0]`.
    """

    intparm: int = 0
    """Interruption parameter for unsolicited interruptions, 32 bits."""
    flags: int = 0
    """16 bits: `PMCW_FLAGS_MASK_*`."""
    devno: int = 0
    """Device number, when `PMCW_FLAGS_MASK_DNV` is one."""
    lpm: int = 0
    """Logical-path mask: the paths that software allows."""
    pnom: int = 0
    """Path-not-operational mask: the paths that were found so."""
    lpum: int = 0
    """Last-path-used mask."""
    pim: int = 0
    """Path-installed mask."""
    mbi: int = 0
    """Measurement-block index."""
    pom: int = 0
    """Path-operational mask: the paths that last answered."""
    pam: int = 0
    """Path-available mask: the paths that are there and switched on."""
    chpid: bytes = bytes(8)
    """The channel-path id of each of the eight paths."""
    chars: int = 0
    """32 bits: `PMCW_CHARS_MASK_*`."""


SCHIB = Struct(
    "pmcw" / PMCW,
    "scsw" / SCSW,
    "mda" / Bytes(12),
)


class Schib(NamedTuple):
    """Subchannel-information block: what STORE SUBCHANNEL stores and MODIFY SUBCHANNEL takes."""

    pmcw_intparm: int = 0
    """As `Pmcw.intparm`."""
    pmcw_flags: int = 0
    """As `Pmcw.flags`."""
    pmcw_devno: int = 0
    """As `Pmcw.devno`."""
    pmcw_lpm: int = 0
    """As `Pmcw.lpm`."""
    pmcw_pnom: int = 0
    """As `Pmcw.pnom`."""
    pmcw_lpum: int = 0
    """As `Pmcw.lpum`."""
    pmcw_pim: int = 0
    """As `Pmcw.pim`."""
    pmcw_mbi: int = 0
    """As `Pmcw.mbi`."""
    pmcw_pom: int = 0
    """As `Pmcw.pom`."""
    pmcw_pam: int = 0
    """As `Pmcw.pam`."""
    pmcw_chpid: bytes = bytes(8)
    """As `Pmcw.chpid`."""
    pmcw_chars: int = 0
    """As `Pmcw.chars`."""
    scsw_flags: int = 0
    """As `Scsw.flags`."""
    scsw_ctrl: int = 0
    """As `Scsw.ctrl`."""
    scsw_cpa: int = 0
    """As `Scsw.cpa`."""
    scsw_dstat: int = 0
    """As `Scsw.dstat`."""
    scsw_cstat: int = 0
    """As `Scsw.cstat`."""
    scsw_count: int = 0
    """As `Scsw.count`."""
    mda: bytes = bytes(12)
    """Measurement-block address (first 8 bytes, if `PMCW_CHARS_MASK_MBFC`) and model-dependent."""


# ------------------------------------------------------------------------------------------- CRW

CRW = Struct("flags" / Int16ub, "rsid" / Int16ub)


class Crw(NamedTuple):
    """Channel-report word, as the architecture has it; the crw region has its two halves."""

    flags: int = 0
    """16 bits: `CRW_FLAGS_MASK_*`, reporting-source code and error-recovery code."""
    rsid: int = 0
    """Reporting-source id: a subchannel number or a channel-path id."""


# ---------------------------------------------------------------------------- CCW, IDAW, MIDAW

CCW0 = Struct(
    "cmd" / Int8ub,
    "cda" / Int24ub,
    "flags" / Int8ub,
    "reserved" / Int8ub,
    "count" / Int16ub,
)


class Ccw0(NamedTuple):
    """Format-0 channel-command word."""

    cmd: int = 0
    """Command code."""
    cda: int = 0
    """Data address, 24 bits: of the data, or of the IDAW or MIDAW list, or where TIC goes."""
    flags: int = 0
    """8 bits: `CCW_FLAG_*`."""
    reserved: int = 0
    """Ignored by the channel."""
    count: int = 0  # type: ignore[assignment]
    """Byte count, 1 to 65535."""


CCW1 = Struct(
    "cmd" / Int8ub,
    "flags" / Int8ub,
    "count" / Int16ub,
    "cda" / Int32ub,
)


class Ccw1(NamedTuple):
    """Format-1 channel-command word."""

    cmd: int = 0
    """Command code."""
    flags: int = 0
    """8 bits: `CCW_FLAG_*`."""
    count: int = 0  # type: ignore[assignment]
    """Byte count, 0 to 65535."""
    cda: int = 0
    """Data address, 31 bits; bit 0 must be zero."""


IDAW1 = Struct("address" / Int32ub)


class Idaw1(NamedTuple):
    """Format-1 indirect-data-address word: one block of 2048 bytes."""

    address: int = 0
    """31-bit data address; bit 0 must be zero."""


IDAW2 = Struct("address" / Int64ub)


class Idaw2(NamedTuple):
    """Format-2 indirect-data-address word: one block of 4096 bytes (2048 with `I2K`)."""

    address: int = 0
    """64-bit data address."""


MIDAW = Struct(
    "reserved" / Bytes(5),
    "flags" / Int8ub,
    "count" / Int16ub,
    "address" / Int64ub,
)


class Midaw(NamedTuple):
    """Modified-CCW-indirect-data-address word."""

    reserved: bytes = bytes(5)
    """Must be zero."""
    flags: int = 0
    """8 bits: `MIDAW_FLAG_*`."""
    count: int = 0  # type: ignore[assignment]
    """Byte count, 1 to 4096; the area must not cross a 4K boundary."""
    address: int = 0
    """64-bit data address."""


# --------------------------------------------------------------------- regions: linux/vfio_ccw.h

# The areas stay bytes, as in Linux: which byte order ORB and SCSW have is the client's matter.
IO_REGION = Struct(
    "orb_area" / Bytes(c.ORB_AREA_SIZE),
    "scsw_area" / Bytes(c.SCSW_AREA_SIZE),
    "irb_area" / Bytes(c.IRB_AREA_SIZE),
    "ret_code" / Int32un,
)


class IoRegion(NamedTuple):
    """`struct ccw_io_region`: a request while written, a status at interruptions."""

    orb_area: bytes = bytes(c.ORB_AREA_SIZE)
    """An ORB (`ORB` or `ORB_HOST`)."""
    scsw_area: bytes = bytes(c.SCSW_AREA_SIZE)
    """An SCSW (`SCSW` or `SCSW_HOST`) whose fctl is the request."""
    irb_area: bytes = bytes(c.IRB_AREA_SIZE)
    """The last interruption's IRB (`IRB`, always big endian)."""
    ret_code: int = 0
    """Negated errno of the last request as 32 unsigned bits, host order."""


CMD_REGION = Struct("command" / Int32un, "ret_code" / Int32un)


class CmdRegion(NamedTuple):
    """`struct ccw_cmd_region`: an instruction to be executed."""

    command: int = 0
    """One `VFIO_CCW_ASYNC_CMD_*` bit, host order."""
    ret_code: int = 0
    """Negated errno of the last command as 32 unsigned bits, host order."""


SCHIB_REGION = SCHIB

CRW_REGION = Struct("flags" / Int16un, "rsid" / Int16un, "pad" / Int32un)


class CrwRegion(NamedTuple):
    """`struct ccw_crw_region`: one channel-report word, all zero when there is none."""

    flags: int = 0
    """As `Crw.flags`, host order."""
    rsid: int = 0
    """As `Crw.rsid`, host order."""
    pad: int = 0
    """Zero."""


# -------------------------------------------- regions beyond Linux's; header and own fields: host

STATUS_REGION = Struct(
    "version" / Int16un,
    "size" / Int16un,
    "fsm_state" / Int8ub,
    "cc" / Int8ub,
    "command" / Int16un,
    "sequence" / Int64un,
    "ret_code" / Int32un,
    "deferred_cc" / Int8ub,
    "reserved" / Bytes(3),
    "scsw_area" / Bytes(c.SCSW_SIZE),
    "pmcw_area" / Bytes(c.PMCW_SIZE),
    "pending" / Int32un,
    "reserved2" / Bytes(4),
    "starts" / Int64un,
    "halts" / Int64un,
    "clears" / Int64un,
    "interruptions" / Int64un,
    "ebusy_status_pending" / Int64un,
    "ebusy_busy" / Int64un,
    "room" / Bytes(8),
)


class StatusRegion(NamedTuple):
    """What became of the last command and how the subchannel is now, in one piece."""

    version: int = c.STATUS_REGION_VERSION
    """1; a higher one only adds fields."""
    size: int = c.STATUS_REGION_SIZE
    """Bytes of the region."""
    fsm_state: int = 0
    """0 NOT_OPER, 1 STANDBY, 2 IDLE, 3 CP_PROCESSING, 4 CP_PENDING (vfio_ccw_private.h)."""
    cc: int = 0
    """Exact condition code of the last command: tells status pending (1) from busy (2)."""
    command: int = 0
    """The last command as its `VFIO_CCW_ASYNC_CMD_*` bit; SSCH through the io region is SSCH."""
    sequence: int = 0
    """Even; grows with every change of what follows or precedes, never goes back."""
    ret_code: int = 0
    """Negated errno of the last command as 32 unsigned bits."""
    deferred_cc: int = 0
    """Deferred condition code of the last status, 0 to 3."""
    reserved: bytes = bytes(3)
    """Zero."""
    scsw_area: bytes = bytes(c.SCSW_SIZE)
    """scsw(h), the hardware's, big endian (`SCSW`)."""
    pmcw_area: bytes = bytes(c.PMCW_SIZE)
    """The PMCW with the path masks, big endian (`PMCW`)."""
    pending: int = 0
    """Interruptions that were not taken yet, the shown one included."""
    reserved2: bytes = bytes(4)
    """Zero."""
    starts: int = 0
    """Start functions accepted."""
    halts: int = 0
    """Halt functions accepted."""
    clears: int = 0
    """Clear functions accepted."""
    interruptions: int = 0
    """Interruptions taken."""
    ebusy_status_pending: int = 0
    """Commands that failed with EBUSY because of condition code 1."""
    ebusy_busy: int = 0
    """Commands that failed with EBUSY because of condition code 2."""
    room: bytes = bytes(8)
    """Zero; later versions."""


PROGRAM_REGION_HEADER = Struct(
    "version" / Int16un,
    "size" / Int16un,
    "running" / Int8ub,
    "reserved" / Bytes(3),
    "half_size" / Int16un,
    "half_a" / Int16un,
    "half_b" / Int16un,
    "reserved2" / Bytes(2),
)


class ProgramRegionHeader(NamedTuple):
    """The first 16 bytes of the program region; they are not writable."""

    version: int = c.PROGRAM_REGION_VERSION
    """1; a higher one only adds fields."""
    size: int = c.PROGRAM_REGION_SIZE
    """Bytes of the region."""
    running: int = 0
    """`PROGRAM_HALF_*`: the half whose program runs and which is locked."""
    reserved: bytes = bytes(3)
    """Zero."""
    half_size: int = c.PROGRAM_HALF_SIZE
    """Bytes of each half. A program's addresses are offsets in its half, from 0."""
    half_a: int = c.PROGRAM_HALF_A_OFFSET
    """Where half A begins in the region."""
    half_b: int = c.PROGRAM_HALF_B_OFFSET
    """Where half B begins in the region."""
    reserved2: bytes = bytes(2)
    """Zero."""


MEASUREMENT_REGION = Struct(
    "version" / Int16un,
    "size" / Int16un,
    "reserved" / Bytes(4),
    "ssch_rsch_count" / Int32un,
    "sample_count" / Int32un,
    "device_connect_time" / Int32un,
    "function_pending_time" / Int32un,
    "device_disconnect_time" / Int32un,
    "control_unit_queuing_time" / Int32un,
    "device_active_only_time" / Int32un,
    "device_busy_time" / Int32un,
    "initial_command_response_time" / Int32un,
    "reserved2" / Bytes(4),
    "device_connect_ns" / Int64un,
    "function_pending_ns" / Int64un,
    "device_disconnect_ns" / Int64un,
    "control_unit_queuing_ns" / Int64un,
    "device_active_only_ns" / Int64un,
    "device_busy_ns" / Int64un,
    "initial_command_response_ns" / Int64un,
    "room" / Bytes(24),
)


class MeasurementRegion(NamedTuple):
    """The counts of the channel-measurement block (PoP 17; Linux cmf.c), times in two units."""

    version: int = c.MEASUREMENT_REGION_VERSION
    """1; a higher one only adds fields."""
    size: int = c.MEASUREMENT_REGION_SIZE
    """Bytes of the region."""
    reserved: bytes = bytes(4)
    """Zero."""
    ssch_rsch_count: int = 0
    """START and RESUME SUBCHANNEL that were accepted."""
    sample_count: int = 0
    """Start functions that ended and are in the times."""
    device_connect_time: int = 0
    """Time in which the channel executed commands, in units of 128 us, as all `_time`."""
    function_pending_time: int = 0
    """Time from SSCH to the first command."""
    device_disconnect_time: int = 0
    """Time in which the device had the command and moved no data."""
    control_unit_queuing_time: int = 0
    """Time in which the control unit queued; no control unit here does."""
    device_active_only_time: int = 0
    """Time from channel end to device end."""
    device_busy_time: int = 0
    """Time in which the device answered busy; it answers once, so there is none."""
    initial_command_response_time: int = 0
    """Time in which the device answered the first command."""
    reserved2: bytes = bytes(4)
    """Zero."""
    device_connect_ns: int = 0
    """As `device_connect_time`, in nanoseconds, as all `_ns`."""
    function_pending_ns: int = 0
    """As `function_pending_time`."""
    device_disconnect_ns: int = 0
    """As `device_disconnect_time`."""
    control_unit_queuing_ns: int = 0
    """As `control_unit_queuing_time`."""
    device_active_only_ns: int = 0
    """As `device_active_only_time`."""
    device_busy_ns: int = 0
    """As `device_busy_time`."""
    initial_command_response_ns: int = 0
    """As `initial_command_response_time`."""
    room: bytes = bytes(24)
    """Zero; later versions."""


# ---------------------------------------------------------------------------- infos: linux/vfio.h

DEVICE_INFO = Struct(
    "argsz" / Int32un,
    "flags" / Int32un,
    "num_regions" / Int32un,
    "num_irqs" / Int32un,
    "cap_offset" / Int32un,
)


class DeviceInfo(NamedTuple):
    """`struct vfio_device_info`, 20 bytes; kernels from 6.6 on pad it to 24."""

    argsz: int = 0
    """Size of this answer in bytes."""
    flags: int = 0
    """`VFIO_DEVICE_FLAGS_*`."""
    num_regions: int = 0
    """Highest region index plus one."""
    num_irqs: int = 0
    """Highest interrupt index plus one."""
    cap_offset: int = 0
    """Offset of the first capability; zero, there is none."""


REGION_INFO = Struct(
    "argsz" / Int32un,
    "flags" / Int32un,
    "index" / Int32un,
    "cap_offset" / Int32un,
    "size" / Int64un,
    "offset" / Int64un,
)


class RegionInfo(NamedTuple):
    """`struct vfio_region_info`, 32 bytes, before its capabilities."""

    argsz: int = 0
    """Size of this answer in bytes, capabilities included."""
    flags: int = 0
    """`VFIO_REGION_INFO_FLAG_*`."""
    index: int = 0  # type: ignore[assignment]
    """The region's index."""
    cap_offset: int = 0
    """Offset of the first capability within this answer, zero when there is none."""
    size: int = 0
    """The region's size in bytes."""
    offset: int = 0
    """The region's offset in the device file."""


REGION_INFO_CAP_TYPE = Struct(
    "id" / Int16un,
    "version" / Int16un,
    "next" / Int32un,
    "type" / Int32un,
    "subtype" / Int32un,
)


class RegionInfoCapType(NamedTuple):
    """`struct vfio_region_info_cap_type`, 16 bytes: which region an index is."""

    id: int = 0
    """`VFIO_REGION_INFO_CAP_TYPE`."""
    version: int = 0
    """Version of the capability, 1."""
    next: int = 0
    """Offset of the next capability within the answer, zero when this is the last."""
    type: int = 0
    """`VFIO_REGION_TYPE_CCW`."""
    subtype: int = 0
    """`VFIO_REGION_SUBTYPE_CCW_*`."""


IRQ_INFO = Struct(
    "argsz" / Int32un,
    "flags" / Int32un,
    "index" / Int32un,
    "count" / Int32un,
)


class IrqInfo(NamedTuple):
    """`struct vfio_irq_info`, 16 bytes."""

    argsz: int = 0
    """Size of this answer in bytes."""
    flags: int = 0
    """`VFIO_IRQ_INFO_*`."""
    index: int = 0  # type: ignore[assignment]
    """The interrupt's index."""
    count: int = 0  # type: ignore[assignment]
    """How many interrupts the index has, 1."""


# ----------------------------------------------------------------------------------- path groups

PATH_GROUP_ID = Struct("first" / Int8ub, "group" / Bytes(c.PGID_SIZE - 1))


class PathGroupId(NamedTuple):
    """The data of Set and Sense Path Group ID (kernel `cio.h`, `struct pgid`)."""

    first: int = 0
    """Set: what to do, `SPID_FUNC_*`. Sense: the path's state, `SNID_STATE*`."""
    group: bytes = bytes(c.PGID_SIZE - 1)
    """The group's id; zeros: no group."""


# ----------------------------------------------------------------------------- the bits of a word


def _bits(**masks: int) -> tuple[Bit, ...]:
    return tuple(Bit(name, mask) for name, mask in masks.items())


BITS = MappingProxyType(
    {
        "orb.ctrl0": _bits(
            key=c.ORB_CTRL0_MASK_KEY,
            spnd=c.ORB_CTRL0_MASK_SPND,
            str=c.ORB_CTRL0_MASK_STR,
            mod=c.ORB_CTRL0_MASK_MOD,
            sync=c.ORB_CTRL0_MASK_SYNC,
            fmt=c.ORB_CTRL0_MASK_FMT,
            pfch=c.ORB_CTRL0_MASK_PFCH,
            isic=c.ORB_CTRL0_MASK_ISIC,
            alcc=c.ORB_CTRL0_MASK_ALCC,
            ssic=c.ORB_CTRL0_MASK_SSIC,
            transport=c.ORB_CTRL0_MASK_TRANSPORT,
            c64=c.ORB_CTRL0_MASK_C64,
            i2k=c.ORB_CTRL0_MASK_I2K,
        ),
        "orb.ctrl1": _bits(
            ils=c.ORB_CTRL1_MASK_ILS,
            midaw=c.ORB_CTRL1_MASK_MIDAW,
            invalid=c.ORB_CTRL1_MASK_INVALID,
            orbx=c.ORB_CTRL1_MASK_ORBX,
        ),
        "scsw.flags": _bits(
            key=c.SCSW_FLAGS_MASK_KEY,
            sctl=c.SCSW_FLAGS_MASK_SCTL,
            eswf=c.SCSW_FLAGS_MASK_ESWF,
            cc=c.SCSW_FLAGS_MASK_CC,
            fmt=c.SCSW_FLAGS_MASK_FMT,
            pfch=c.SCSW_FLAGS_MASK_PFCH,
            isic=c.SCSW_FLAGS_MASK_ISIC,
            alcc=c.SCSW_FLAGS_MASK_ALCC,
            ssi=c.SCSW_FLAGS_MASK_SSI,
            zcc=c.SCSW_FLAGS_MASK_ZCC,
            ectl=c.SCSW_FLAGS_MASK_ECTL,
            pno=c.SCSW_FLAGS_MASK_PNO,
        ),
        "scsw.fctl": _bits(
            start=c.SCSW_FCTL_START_FUNC,
            halt=c.SCSW_FCTL_HALT_FUNC,
            clear=c.SCSW_FCTL_CLEAR_FUNC,
        ),
        "scsw.actl": _bits(
            resume_pend=c.SCSW_ACTL_RESUME_PEND,
            start_pend=c.SCSW_ACTL_START_PEND,
            halt_pend=c.SCSW_ACTL_HALT_PEND,
            clear_pend=c.SCSW_ACTL_CLEAR_PEND,
            subch_active=c.SCSW_ACTL_SUBCH_ACTIVE,
            device_active=c.SCSW_ACTL_DEVICE_ACTIVE,
            susp=c.SCSW_ACTL_SUSP,
        ),
        "scsw.stctl": _bits(
            alert=c.SCSW_STCTL_ALERT,
            intermediate=c.SCSW_STCTL_INTERMEDIATE,
            primary=c.SCSW_STCTL_PRIMARY,
            secondary=c.SCSW_STCTL_SECONDARY,
            status_pend=c.SCSW_STCTL_STATUS_PEND,
        ),
        "scsw.dstat": _bits(
            attention=c.SCSW_DSTAT_ATTENTION,
            stat_mod=c.SCSW_DSTAT_STAT_MOD,
            cu_end=c.SCSW_DSTAT_CU_END,
            busy=c.SCSW_DSTAT_BUSY,
            channel_end=c.SCSW_DSTAT_CHANNEL_END,
            device_end=c.SCSW_DSTAT_DEVICE_END,
            unit_check=c.SCSW_DSTAT_UNIT_CHECK,
            unit_excep=c.SCSW_DSTAT_UNIT_EXCEP,
        ),
        "scsw.cstat": _bits(
            pci=c.SCSW_CSTAT_PCI,
            incorr_len=c.SCSW_CSTAT_INCORR_LEN,
            prog_check=c.SCSW_CSTAT_PROG_CHECK,
            prot_check=c.SCSW_CSTAT_PROT_CHECK,
            data_check=c.SCSW_CSTAT_DATA_CHECK,
            chn_ctrl_chk=c.SCSW_CSTAT_CHN_CTRL_CHK,
            intf_ctrl_chk=c.SCSW_CSTAT_INTF_CTRL_CHK,
            chain_check=c.SCSW_CSTAT_CHAIN_CHECK,
        ),
        "esw.logout": _bits(
            esf=c.SUBLOG_ESF,
            lpum=c.SUBLOG_LPUM,
            arep=c.SUBLOG_AREP,
            fvf=c.SUBLOG_FVF,
            sacc=c.SUBLOG_SACC,
            termc=c.SUBLOG_TERMC,
            devsc=c.SUBLOG_DEVSC,
            serr=c.SUBLOG_SERR,
            ioerr=c.SUBLOG_IOERR,
            seqc=c.SUBLOG_SEQC,
        ),
        "esw.erw": _bits(
            rlog=c.ERW_RLOG,
            eslp=c.ERW_ESLP,
            auth=c.ERW_AUTH,
            pvrf=c.ERW_PVRF,
            cpt=c.ERW_CPT,
            fsavf=c.ERW_FSAVF,
            cons=c.ERW_CONS,
            scavf=c.ERW_SCAVF,
            fsaf=c.ERW_FSAF,
            scnt=c.ERW_SCNT_MASK << c.ERW_SCNT_SHIFT,
        ),
        "pmcw.flags": _bits(
            qf=c.PMCW_FLAGS_MASK_QF,
            w=c.PMCW_FLAGS_MASK_W,
            isc=c.PMCW_FLAGS_MASK_ISC,
            invalid=c.PMCW_FLAGS_MASK_INVALID,
            ena=c.PMCW_FLAGS_MASK_ENA,
            lm=c.PMCW_FLAGS_MASK_LM,
            mme=c.PMCW_FLAGS_MASK_MME,
            mp=c.PMCW_FLAGS_MASK_MP,
            tf=c.PMCW_FLAGS_MASK_TF,
            dnv=c.PMCW_FLAGS_MASK_DNV,
        ),
        "pmcw.chars": _bits(
            st=c.PMCW_CHARS_MASK_ST,
            invalid=c.PMCW_CHARS_MASK_INVALID,
            mbfc=c.PMCW_CHARS_MASK_MBFC,
            xmwme=c.PMCW_CHARS_MASK_XMWME,
            csense=c.PMCW_CHARS_MASK_CSENSE,
        ),
        "crw.flags": _bits(
            slct=c.CRW_FLAGS_MASK_S,
            oflw=c.CRW_FLAGS_MASK_R,
            chn=c.CRW_FLAGS_MASK_C,
            rsc=c.CRW_FLAGS_MASK_RSC,
            anc=c.CRW_FLAGS_MASK_A,
            erc=c.CRW_FLAGS_MASK_ERC,
        ),
        "ccw.flags": _bits(
            dc=c.CCW_FLAG_DC,
            cc=c.CCW_FLAG_CC,
            sli=c.CCW_FLAG_SLI,
            skip=c.CCW_FLAG_SKIP,
            pci=c.CCW_FLAG_PCI,
            ida=c.CCW_FLAG_IDA,
            suspend=c.CCW_FLAG_SUSPEND,
            mida=c.CCW_FLAG_MIDA,
        ),
        "midaw.flags": _bits(
            last=c.MIDAW_FLAG_LAST,
            skip=c.MIDAW_FLAG_SKIP,
            dtic=c.MIDAW_FLAG_DTIC,
            reserved=c.MIDAW_FLAG_RESERVED,
        ),
    }
)
"""The bit fields of each word, from the left, under `layout.field`.  The SCSW's ctrl halfword is
three words to the architecture and stands here as `scsw.fctl`, `scsw.actl`, `scsw.stctl`."""
