"""Words for people: what the bytes of a structure say, field by field or in one line.

`vfioccw decode`, the `state` and `trace` files and the errors of the client all speak from here.
The `describe_*` functions take bytes and give rows of (field, value, meaning); the `line_*`
functions take a value of `layouts` and give one line, cheap enough for a trace of every CCW.
Bits are named as the Principles of Operation names them (chapters 15 to 17).  What a device calls
its commands and sense bits stands with the device and comes here as its `DeviceWords`.

It reads bytes through `codec` alone and knows neither regions nor devices nor who asked.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from . import codec
from . import constants as c
from .layouts import BITS, Ccw0, Ccw1, Crw, Irb, Orb, Pmcw, Scsw

T = TypeVar("T", bound=tuple[Any, ...])


class Row(NamedTuple):
    """One field of a structure."""

    field: str
    """Its name in the layout; the bit fields of a word share the word's row."""
    value: str
    """Hexadecimal, as many digits as the field has."""
    meaning: str
    """Words, `, ` between them; empty when there is nothing to say."""


def _nothing_further(sense: bytes) -> list[Row]:
    return []


@dataclass(frozen=True, eq=False)  # hashed by identity: a key of the caches below
class DeviceWords:
    """What people call a device's commands and sense bits.

    Each device type declares its own, beside its command codes.
    """

    commands: Mapping[int, str] = field(default_factory=dict)
    """Command code to name, beside the commands that every device has."""
    sense0: tuple[tuple[int, str], ...] = ()
    """Bits of sense byte 0, mask and name, that the device uses in its own way."""
    sense1: tuple[tuple[int, str], ...] = ()
    """Bits of sense byte 1; empty: the byte gets no words."""
    further: Callable[[bytes], list[Row]] = _nothing_further
    """Rows for bytes 2 and up of sense data, which it gets whole."""


EVERY_DEVICE = DeviceWords()
"""What all devices have in common, for a device of which no more is known."""


# ------------------------------------------------------------------------------ words for the bits

# A word of a bit: what to say when it is one; (zero, one); {value: words} for a field of several
# bits; or a format for its value when that is not zero.
_Words = str | tuple[str, str] | Mapping[int, str]

_FCTL = {"start": "start function", "halt": "halt function", "clear": "clear function"}

_ACTL = {
    "resume_pend": "resume pending",
    "start_pend": "start pending",
    "halt_pend": "halt pending",
    "clear_pend": "clear pending",
    "subch_active": "subchannel active",
    "device_active": "device active",
    "susp": "suspended",
}

_STCTL = {
    "alert": "alert status",
    "intermediate": "intermediate status",
    "primary": "primary status",
    "secondary": "secondary status",
    "status_pend": "status pending",
}

_WORDS: Mapping[str, Mapping[str, _Words]] = MappingProxyType(
    {
        "orb.ctrl0": {
            "key": "key {}",
            "spnd": "suspend control",
            "str": "streaming mode",
            "mod": "modification",
            "sync": "synchronization",
            "fmt": ("format-0 CCWs", "format-1 CCWs"),
            "pfch": ("no prefetch", "prefetch"),
            "isic": "initial-status interruption",
            "alcc": "address-limit checking",
            "ssic": "suppress suspended interruption",
            "transport": "transport mode",
            "c64": ("format-1 IDAWs", "format-2 IDAWs"),
            "i2k": "2K IDAW blocks",
        },
        "orb.ctrl1": {
            "ils": "incorrect-length suppression",
            "midaw": "MIDAWs allowed",
            "invalid": "reserved bits set",
            "orbx": "ORB extension",
        },
        "scsw.flags": {
            "key": "key {}",
            "sctl": "suspend control",
            "eswf": "ESW format 0",
            "cc": "deferred cc {}",
            "fmt": "format-1 CCWs",
            "pfch": "prefetch",
            "isic": "initial-status interruption",
            "alcc": "address-limit checking",
            "ssi": "suppress suspended interruption",
            "zcc": "zero condition code",
            "ectl": "extended control",
            "pno": "path not operational",
        },
        "scsw.fctl": _FCTL,
        "scsw.actl": _ACTL,
        "scsw.stctl": _STCTL,
        "scsw.dstat": {
            "attention": "attention",
            "stat_mod": "status modifier",
            "cu_end": "control-unit end",
            "busy": "busy",
            "channel_end": "channel end",
            "device_end": "device end",
            "unit_check": "unit check",
            "unit_excep": "unit exception",
        },
        "scsw.cstat": {
            "pci": "program-controlled interruption",
            "incorr_len": "incorrect length",
            "prog_check": "program check",
            "prot_check": "protection check",
            "data_check": "channel-data check",
            "chn_ctrl_chk": "channel-control check",
            "intf_ctrl_chk": "interface-control check",
            "chain_check": "chaining check",
        },
        "esw.logout": {
            "esf": "extended status flags {:#04x}",
            "lpum": "last path used {:02x}",
            "arep": "ancillary report",
            "fvf": "field validity {:#04x}",
            "sacc": {1: "storage access: read", 2: "storage access: write", 3: "read backward"},
            # 0, the halt signal, is also what stands there when the field is not valid.
            "termc": {1: "terminated: stop, stack or normal", 2: "terminated: clear signal"},
            "devsc": "device-status check",
            "serr": "secondary error",
            "ioerr": "I/O-error alert",
            "seqc": "sequence code {}",
        },
        "esw.erw": {
            "rlog": "request logging only",
            "eslp": "extended subchannel logout pending",
            "auth": "authorization check",
            "pvrf": "path verification required",
            "cpt": "channel-path timeout",
            "fsavf": "failing-storage address valid",
            "cons": "concurrent sense",
            "scavf": "secondary-CCW address valid",
            "fsaf": "failing-storage address of 64 bits",
            "scnt": "sense count {}",
        },
        "pmcw.flags": {
            "qf": "QDIO facility",
            "w": "W",
            "isc": "interruption subclass {}",
            "invalid": "reserved bits set",
            "ena": ("disabled", "enabled"),
            "lm": {1: "limit mode: low", 2: "limit mode: high", 3: "limit mode: reserved"},
            "mme": {
                1: "device-connect-time measurement",
                2: "measurement-block update",
                3: "measurement-block update and device-connect-time measurement",
            },
            "mp": "multipath mode",
            "tf": "timing facility",
            "dnv": ("device number not valid", "device number valid"),
        },
        "pmcw.chars": {
            "st": {1: "CHSC subchannel", 2: "message subchannel", 3: "ADM subchannel"},
            "invalid": "reserved bits set",
            "mbfc": "measurement-block format 1",
            "xmwme": "extended measurement word",
            "csense": "concurrent sense",
        },
        "crw.flags": {
            "slct": "solicited",
            "oflw": "overflow: reports were lost",
            "chn": "chained",
            "anc": "ancillary report",
            "rsc": {
                c.CRW_RSC_MONITOR: "monitoring facility",
                c.CRW_RSC_SUBCH: "subchannel",
                c.CRW_RSC_CHP: "channel path",
                c.CRW_RSC_CONFIG: "configuration-alert facility",
                c.CRW_RSC_CSS: "channel subsystem",
            },
            "erc": {
                c.CRW_ERC_EVENT: "event information pending",
                c.CRW_ERC_AVAIL: "available",
                c.CRW_ERC_INIT: "initialized",
                c.CRW_ERC_TERROR: "temporary error",
                c.CRW_ERC_IPI: "installed parameters initialized",
                c.CRW_ERC_TERM: "terminal",
                c.CRW_ERC_PERRN: "permanent error, facility not initialized",
                c.CRW_ERC_PERRI: "permanent error, facility initialized",
                c.CRW_ERC_PMOD: "installed parameters modified",
            },
        },
        "ccw.flags": {
            "dc": "chain data",
            "cc": "chain command",
            "sli": "suppress length indication",
            "skip": "skip",
            "pci": "program-controlled interruption",
            "ida": "indirect data addressing",
            "suspend": "suspend",
            "mida": "modified indirect data addressing",
        },
        "midaw.flags": {
            "last": "last MIDAW",
            "skip": "skip",
            "dtic": "data-transfer-interruption control",
            "reserved": "reserved bits set",
        },
    }
)

# The letters of the manual, for lines where words would be too long.
_CCW_LETTERS = ("CD", "CC", "SLI", "SKIP", "PCI", "IDA", "S", "MIDA")


def _say(words: _Words, value: int) -> str:
    """What one bit field says; empty if nothing."""
    match words:
        case str():
            return words.format(value) if value else ""
        case tuple():
            return words[bool(value)]
        case _:
            return words.get(value, f"code {value}" if value else "")


@functools.lru_cache(maxsize=512)
def bits_in_words(word: str, value: int) -> str:
    """The words of a whole word's bits: *word* is a key of `layouts.BITS`.

    `bits_in_words("scsw.dstat", 0x0c)` is "channel end, device end".  KeyError for another key.
    """
    words = _WORDS[word]
    said = (_say(words[bit.name], bit.get(value)) for bit in BITS[word])
    return ", ".join(one for one in said if one)


@functools.lru_cache(maxsize=256)
@functools.lru_cache(maxsize=256)
def _ccw_letters(flags: int) -> str:
    return " ".join(
        letters
        for letters, bit in zip(_CCW_LETTERS, BITS["ccw.flags"], strict=True)
        if flags & bit.mask
    )


@functools.lru_cache(maxsize=256)
def paths_in_words(mask: int) -> str:
    """The path numbers of a path mask, 0x80 is path 0: "paths 0 1"; "no path" for zero."""
    paths = [str(path) for path in range(8) if mask & 0x80 >> path]
    match len(paths):
        case 0:
            return "no path"
        case 1:
            return f"path {paths[0]}"
        case _:
            return "paths " + " ".join(paths)


# ------------------------------------------------------------------------------- names of commands

COMMANDS: Mapping[int, str] = MappingProxyType(
    {
        c.CCW_CMD_NOOP: "no-operation",
        c.CCW_CMD_BASIC_SENSE: "sense",
        c.CCW_CMD_TIC: "transfer in channel",
        c.CCW_CMD_SENSE_PGID: "sense path group id",
        c.CCW_CMD_SUSPEND_RECONN: "suspend multipath reconnection",
        c.CCW_CMD_RDC: "read device characteristics",
        c.CCW_CMD_SET_PGID: "set path group id",
        c.CCW_CMD_SENSE_ID: "sense id",
        c.CCW_CMD_RCD: "read configuration data",
    }
)
"""Command code to name: what every device understands."""


@functools.lru_cache(maxsize=512)
def command_name(code: int, device: DeviceWords = EVERY_DEVICE) -> str:
    """The name of a command code.

    A code that the device does not know is named after what the channel makes of it: "read",
    "write", "control", "sense", "read backward", and "invalid command" for a low digit of zero.
    """
    known = device.commands.get(code) or COMMANDS.get(code)
    if known:
        return known
    if code & 0x0F == 0:
        return "invalid command"
    if code & 0x0F == c.CCW_CMD_TIC:
        # Format 0 takes the low digit alone for TIC, format 1 wants zeros before it.
        return "transfer in channel (format 0)"
    if code & 0x0F == 0x0C:
        return "read backward"
    if code & 0x0F == 0x04:
        return "sense"
    return ("", "write", "read", "control")[code & 0x03]


# ------------------------------------------------------------------------------------- from bytes


def from_hex(text: str) -> bytes:
    """The bytes of hexadecimal digits; white space, `:`, `_`, `,` and a leading `0x` are ignored.

    ValueError, in one line, for anything else.
    """
    digits = text.strip().removeprefix("0x").removeprefix("0X")
    for between in " \t\r\n:_,":
        digits = digits.replace(between, "")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        shown = text if len(text) <= 40 else text[:37] + "..."
        raise ValueError(f"{shown!r} is not pairs of hexadecimal digits") from None


def _parse(what: str, layout: codec.Codec[T], data: bytes) -> T:
    """The structure that is all of *data*; ValueError that names the size if it is another."""
    if len(data) != layout.size:
        raise ValueError(f"{what} is {layout.size} bytes, these are {len(data)}")
    return layout.parse(data)


def _pick(order: str, big: codec.Codec[T], host: codec.Codec[T]) -> codec.Codec[T]:
    """The codec for a byte order; ValueError if it is neither *big* nor *host*."""
    if order not in ("big", "host"):
        raise ValueError(f"byte order {order!r} is neither big nor host")
    return big if order == "big" else host


def describe_orb(data: bytes, order: str = "big") -> list[Row]:
    """The 12 bytes of an ORB; *order* is `big` or `host`.  ValueError for another length."""
    orb = _parse("an ORB", _pick(order, codec.ORB, codec.ORB_HOST), data)
    return [
        Row("intparm", f"{orb.intparm:08x}", "interruption parameter"),
        Row("ctrl0", f"{orb.ctrl0:04x}", bits_in_words("orb.ctrl0", orb.ctrl0)),
        Row("lpm", f"{orb.lpm:02x}", paths_in_words(orb.lpm)),
        Row("ctrl1", f"{orb.ctrl1:02x}", bits_in_words("orb.ctrl1", orb.ctrl1)),
        Row("cpa", f"{orb.cpa:08x}", "address of the channel program"),
    ]


def describe_ccw(data: bytes, format: int = 1, device: DeviceWords = EVERY_DEVICE) -> list[Row]:
    """The 8 bytes of a CCW of format 0 or 1, its command as *device* names it.

    ValueError for another length or format.
    """
    ccw = parse_ccw(data, format)
    where = "address"
    if ccw.flags & c.CCW_FLAG_MIDA:
        where = "address of the MIDAW list"
    elif ccw.flags & c.CCW_FLAG_IDA:
        where = "address of the IDAW list"
    elif ccw.cmd & (0x0F if format == 0 else 0xFF) == c.CCW_CMD_TIC:
        # Format 0 looks at the low digit alone, and a TIC has no data flags.
        where = "address of the next CCW"
    digits = 6 if format == 0 else 8
    return [
        Row("cmd", f"{ccw.cmd:02x}", command_name(ccw.cmd, device)),
        Row("flags", f"{ccw.flags:02x}", bits_in_words("ccw.flags", ccw.flags)),
        Row("count", f"{ccw.count:04x}", f"{ccw.count} bytes"),
        Row("cda", f"{ccw.cda:0{digits}x}", where),
    ]


def parse_ccw(data: bytes, format: int = 1) -> Ccw0 | Ccw1:
    """The CCW that is all of *data*; ValueError if it is not 8 bytes, or for another format."""
    if format == 0:
        return _parse("a CCW", codec.CCW0, data)
    if format == 1:
        return _parse("a CCW", codec.CCW1, data)
    raise ValueError(f"CCW format {format} is neither 0 nor 1")


_GOES_ON = c.SCSW_ACTL_START_PEND | c.SCSW_ACTL_SUBCH_ACTIVE


def _scsw_rows(scsw: Scsw) -> list[Row]:
    # While a program goes on nothing is said by the address (PoP 16, "CCW Address").
    goes_on = scsw.ctrl & _GOES_ON and not scsw.ctrl & c.SCSW_CTRL_MASK_STCTL
    ended = f"last CCW at {scsw.cpa - 8:#x}" if scsw.cpa >= 8 and not goes_on else ""
    return [
        Row("flags", f"{scsw.flags:04x}", bits_in_words("scsw.flags", scsw.flags)),
        Row(
            "fctl",
            f"{scsw.ctrl & c.SCSW_CTRL_MASK_FCTL:04x}",
            bits_in_words("scsw.fctl", scsw.ctrl),
        ),
        Row(
            "actl",
            f"{scsw.ctrl & c.SCSW_CTRL_MASK_ACTL:04x}",
            bits_in_words("scsw.actl", scsw.ctrl),
        ),
        Row(
            "stctl",
            f"{scsw.ctrl & c.SCSW_CTRL_MASK_STCTL:04x}",
            bits_in_words("scsw.stctl", scsw.ctrl),
        ),
        Row("cpa", f"{scsw.cpa:08x}", ended),
        Row("dstat", f"{scsw.dstat:02x}", bits_in_words("scsw.dstat", scsw.dstat)),
        Row("cstat", f"{scsw.cstat:02x}", bits_in_words("scsw.cstat", scsw.cstat)),
        Row("count", f"{scsw.count:04x}", f"residual count {scsw.count}"),
    ]


def describe_scsw(data: bytes, order: str = "big") -> list[Row]:
    """The 12 bytes of an SCSW; *order* is `big` or `host`.  ValueError for another length."""
    return _scsw_rows(_parse("an SCSW", _pick(order, codec.SCSW, codec.SCSW_HOST), data))


def _within(prefix: str, rows: list[Row]) -> list[Row]:
    return [row._replace(field=f"{prefix}.{row.field}") for row in rows]


def _scsw_of(outer: tuple[Any, ...], first: int) -> Scsw:
    """The SCSW whose fields lie flat in *outer* from *first* on."""
    return Scsw._make(outer[first : first + len(Scsw._fields)])


def sense_of(irb: Irb) -> bytes:
    """The concurrent sense data that an IRB carries; empty if it carries none."""
    if not irb.scsw_flags & c.SCSW_FLAGS_MASK_ECTL or not irb.esw_erw & c.ERW_CONS:
        return b""
    return irb.ecw[: irb.esw_erw >> c.ERW_SCNT_SHIFT & c.ERW_SCNT_MASK]


def describe_irb(data: bytes, device: DeviceWords = EVERY_DEVICE) -> list[Row]:
    """The 96 bytes of an IRB, its sense data in the words of *device*.

    ValueError for another length.
    """
    irb = _parse("an IRB", codec.IRB, data)
    if irb.scsw_flags & c.SCSW_FLAGS_MASK_ESWF:
        word0 = "format 0, " + bits_in_words("esw.logout", irb.esw_logout)
    else:
        used = irb.esw_logout >> c.ESW_LPUM_SHIFT & 0xFF
        word0 = f"last path used {used:02x}" if used else ""
        if connect := irb.esw_logout & c.ESW_DCTI_MASK:
            word0 += f", device-connect time {connect * 128} us"
    rows = _within("scsw", _scsw_rows(_scsw_of(irb, 0)))
    rows += [
        Row("esw.logout", f"{irb.esw_logout:08x}", word0),
        Row("esw.erw", f"{irb.esw_erw:08x}", bits_in_words("esw.erw", irb.esw_erw)),
        Row("esw.fsa", f"{irb.esw_fsa:016x}", "failing-storage address" if irb.esw_fsa else ""),
        Row("esw.saddr", f"{irb.esw_saddr:08x}", "secondary-CCW address" if irb.esw_saddr else ""),
    ]
    sense = sense_of(irb)
    rows.append(Row("ecw", irb.ecw.hex(), f"{len(sense)} bytes of sense data" if sense else ""))
    rows.append(Row("emw", irb.emw.hex(), ""))
    if sense:
        rows += _within("sense", describe_sense(sense, device))
    return rows


def _pmcw_rows(pmcw: Pmcw) -> list[Row]:
    paths = [f"{chpid:02x}" for path, chpid in enumerate(pmcw.chpid) if pmcw.pim & 0x80 >> path]
    return [
        Row("intparm", f"{pmcw.intparm:08x}", "interruption parameter"),
        Row("flags", f"{pmcw.flags:04x}", bits_in_words("pmcw.flags", pmcw.flags)),
        Row("devno", f"{pmcw.devno:04x}", "device number"),
        Row("lpm", f"{pmcw.lpm:02x}", f"logical: {paths_in_words(pmcw.lpm)}"),
        Row("pnom", f"{pmcw.pnom:02x}", f"not operational: {paths_in_words(pmcw.pnom)}"),
        Row("lpum", f"{pmcw.lpum:02x}", f"last used: {paths_in_words(pmcw.lpum)}"),
        Row("pim", f"{pmcw.pim:02x}", f"installed: {paths_in_words(pmcw.pim)}"),
        Row("mbi", f"{pmcw.mbi:04x}", "measurement-block index"),
        Row("pom", f"{pmcw.pom:02x}", f"operational: {paths_in_words(pmcw.pom)}"),
        Row("pam", f"{pmcw.pam:02x}", f"available: {paths_in_words(pmcw.pam)}"),
        Row("chpid", pmcw.chpid.hex(), "channel paths " + " ".join(paths) if paths else "no path"),
        Row("chars", f"{pmcw.chars:08x}", bits_in_words("pmcw.chars", pmcw.chars)),
    ]


def describe_pmcw(data: bytes) -> list[Row]:
    """The 28 bytes of a PMCW.  ValueError for another length."""
    return _pmcw_rows(_parse("a PMCW", codec.PMCW, data))


def describe_schib(data: bytes) -> list[Row]:
    """The 52 bytes of a SCHIB.  ValueError for another length."""
    schib = _parse("a SCHIB", codec.SCHIB, data)
    pmcw = Pmcw._make(schib[: len(Pmcw._fields)])
    return [
        *_within("pmcw", _pmcw_rows(pmcw)),
        *_within("scsw", _scsw_rows(_scsw_of(schib, len(Pmcw._fields)))),
        Row("mda", schib.mda.hex(), "measurement-block address and model-dependent"),
    ]


def describe_crw(data: bytes) -> list[Row]:
    """A channel-report word: 4 bytes as the architecture has it, or the 8 of the crw region.

    ValueError for another length.
    """
    if len(data) == codec.CRW_REGION.size:
        region = codec.CRW_REGION.parse(data)
        crw = Crw(region.flags, region.rsid)
    elif len(data) == codec.CRW.size:
        crw = codec.CRW.parse(data)
    else:
        raise ValueError(
            f"a CRW is {codec.CRW.size} bytes, or {codec.CRW_REGION.size} of the crw region in "
            f"host order; these are {len(data)}"
        )
    if not any(crw):
        return [Row("flags", "0000", "no report pending"), Row("rsid", "0000", "")]
    return [
        Row("flags", f"{crw.flags:04x}", bits_in_words("crw.flags", crw.flags)),
        Row("rsid", f"{crw.rsid:04x}", _source(crw)),
    ]


def _source(crw: Crw) -> str:
    """Which subchannel or channel path a report is about."""
    match (crw.flags & c.CRW_FLAGS_MASK_RSC) >> c.CRW_RSC_SHIFT:
        case c.CRW_RSC_SUBCH:
            return f"subchannel {crw.rsid:04x}"
        case c.CRW_RSC_CHP:
            return f"chpid {crw.rsid & 0xFF:02x}"
        case _:
            return ""


# ------------------------------------------------------------------------------------- sense data

_SENSE0 = (
    (c.SNS0_CMD_REJECT, "command reject"),
    (c.SNS0_INTERVENTION_REQ, "intervention required"),
    (c.SNS0_BUS_OUT_CHECK, "bus-out check"),
    (c.SNS0_EQUIPMENT_CHECK, "equipment check"),
    (c.SNS0_DATA_CHECK, "data check"),
    (c.SNS0_OVERRUN, "overrun"),
)


def bits_set(table: tuple[tuple[int, str], ...], value: int) -> str:
    """The words of the bits of one sense byte, by (mask, words); a bit without: `bit 0x02`."""
    said = [words for mask, words in table if value & mask]
    named = sum(mask for mask, _ in table)
    said += [f"bit {1 << n:#04x}" for n in range(7, -1, -1) if value & ~named & 1 << n]
    return ", ".join(said)


def describe_sense(data: bytes, device: DeviceWords = EVERY_DEVICE) -> list[Row]:
    """Sense data, 1 to 32 bytes, in the words of *device*.

    ValueError for no byte, or more than 32.
    """
    if not 1 <= len(data) <= c.SENSE_MAX_COUNT:
        raise ValueError(f"sense data is 1 to {c.SENSE_MAX_COUNT} bytes, these are {len(data)}")
    words = bits_set(_SENSE0 + device.sense0, data[0]) or "no error"
    rows = [Row("byte 0", f"{data[0]:02x}", words)]
    if len(data) > 1:
        words = bits_set(device.sense1, data[1]) if device.sense1 else ""
        rows.append(Row("byte 1", f"{data[1]:02x}", words))
    rows += device.further(data)
    rows.append(Row("all", data.hex(), f"{len(data)} bytes"))
    return rows


DESCRIBERS: Mapping[str, Callable[[bytes], list[Row]]] = MappingProxyType(
    {
        "orb": describe_orb,
        "ccw": describe_ccw,
        "scsw": describe_scsw,
        "irb": describe_irb,
        "schib": describe_schib,
        "pmcw": describe_pmcw,
        "crw": describe_crw,
        "sense": describe_sense,
    }
)
"""Structure name to the function that describes its bytes, options left at their defaults."""


# --------------------------------------------------------------------------------------- one line


def line_orb(orb: Orb) -> str:
    """An ORB in one line: `program at 00001000, parm 00c0ffee, lpm 80, format-1 CCWs, ...`."""
    parts = [
        f"program at {orb.cpa:08x}",
        f"parm {orb.intparm:08x}",
        f"lpm {orb.lpm:02x}",
        bits_in_words("orb.ctrl0", orb.ctrl0),
        bits_in_words("orb.ctrl1", orb.ctrl1),
    ]
    return ", ".join(part for part in parts if part)


def line_ccw(ccw: Ccw0 | Ccw1, device: DeviceWords = EVERY_DEVICE) -> str:
    """A CCW in one line, op/flags/count first: `42/80/512 at 00002000: read, CD`."""
    line = f"{ccw.cmd:02x}/{ccw.flags:02x}/{ccw.count} at {ccw.cda:08x}: "
    line += command_name(ccw.cmd, device)
    return f"{line}, {_ccw_letters(ccw.flags)}" if ccw.flags else line


def line_scsw(scsw: Scsw) -> str:
    """An SCSW in one line: functions; activity; status; then address and count if status pends."""
    parts = [
        bits_in_words("scsw.fctl", scsw.ctrl),
        bits_in_words("scsw.actl", scsw.ctrl),
        bits_in_words("scsw.stctl", scsw.ctrl),
        bits_in_words("scsw.dstat", scsw.dstat),
        bits_in_words("scsw.cstat", scsw.cstat),
    ]
    if cc := scsw.flags & c.SCSW_FLAGS_MASK_CC:
        parts.append(f"deferred cc {cc >> c.SCSW_CC_SHIFT}")
    # Status pending alone has no CCW address and no count: there was no program to end.
    if scsw.ctrl & c.SCSW_CTRL_MASK_STCTL & ~c.SCSW_STCTL_STATUS_PEND:
        parts.append(f"cpa {scsw.cpa:08x} count {scsw.count}")
    return "; ".join(part for part in parts if part) or "idle"


def line_irb(irb: Irb, device: DeviceWords = EVERY_DEVICE) -> str:
    """An IRB in one line: its SCSW, the path, and the sense data if it carries some."""
    line = line_scsw(_scsw_of(irb, 0))
    if used := irb.esw_logout >> c.ESW_LPUM_SHIFT & 0xFF:
        line += f"; path {used:02x}"
    if sense := sense_of(irb):
        line += f"; {line_sense(sense, device)}"
    return line


def line_crw(crw: Crw) -> str:
    """A channel-report word in one line: `channel path, initialized: chpid 41`."""
    line = bits_in_words("crw.flags", crw.flags)
    source = _source(crw)
    return f"{line}: {source}" if source else line


def line_sense(data: bytes, device: DeviceWords = EVERY_DEVICE) -> str:
    """Sense data in one line: `sense 80 00: command reject`; "no sense data" for no byte."""
    if not data:
        return "no sense data"
    said = [bits_set(_SENSE0 + device.sense0, data[0])]
    if len(data) > 1 and device.sense1:
        said.append(bits_set(device.sense1, data[1]))
    words = ", ".join(one for one in said if one) or "no error"
    return f"sense {data[:2].hex(' ')}: {words}"
