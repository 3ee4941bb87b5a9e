"""The control units a 3390 can be behind, and what they answer when asked who they are.

Facts of Sense ID, Read Device Characteristics, Read Configuration Data and Sense Subsystem Status:
3990 reference, *Device Characteristics* and *Configuration Data*; the CIW layout is that of the
PoP, *Common I/O-Device Commands*; what Linux reads of them is in `dasd_eckd.h`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ...regions import constants as c
from . import geometry
from .geometry import DEVICE_TYPE, HEADS, SECTORS, TRACK_LENGTH, Model

DEFAULT: Final = "2107"
"""What current systems expect: only it has Prefix and track data, which Linux uses if it can."""
CONFIGURATION_LENGTH: Final = 256
CHARACTERISTICS_LENGTH: Final = 64
_MAKER = "VFC"
_PLANT = "00"
_WIDE_CYLINDERS = 0xFFFE  # in the 16-bit field: look at the 32-bit one
_CIW_RCD = 0x40FA0100
_CIW_SET_INTERFACE_IDENTIFIER = 0x41270004


@dataclass(frozen=True, slots=True)
class ControlUnit:
    """One kind of control unit."""

    name: str
    """What `cu=` calls it."""
    type: int
    """Control unit type, e.g. 0x3990."""
    model: int
    """Control unit model as Sense ID shows it."""
    ciws: tuple[int, ...]
    """Command information words of Sense ID."""
    facilities: int
    """Bytes 6 to 9 of Read Device Characteristics."""
    type_code: int
    """Byte 42 of Read Device Characteristics."""
    feature_limits: bytes
    """Bytes 51 to 54 of Read Device Characteristics."""
    extended: bool
    """Locate Record Extended."""
    caches: bool
    """Set Subsystem Mode."""
    prefix: bool
    """Prefix and the track commands (Read and Write Track Data, Write Full Track)."""
    recalibrates: bool
    """Recalibrate and Restore, which newer control units dropped."""
    status_length: int
    """Bytes of Sense Subsystem Status."""
    write_inhibited: int
    """Sense byte 0, beside write inhibited, of a write to a protected volume.

    To Linux (`dasd_3990_erp.c`) command reject says that of the volume, and the request fails;
    equipment check, which a 3990 gives as recorded, says it of a path, and the others are tried.
    """

    def sense_id(self, model: Model) -> bytes:
        """The answer to Sense ID for a device of *model*."""
        head = struct.pack(">BHBHBB", 0xFF, self.type, self.model, DEVICE_TYPE, model.byte, 0)
        return head + struct.pack(f">{len(self.ciws)}I", *self.ciws)

    def characteristics(self, model: Model, cylinders: int) -> bytes:
        """The answer to Read Device Characteristics, 64 bytes."""
        data = bytearray(CHARACTERISTICS_LENGTH)
        narrow = min(cylinders, _WIDE_CYLINDERS)
        struct.pack_into(
            ">HBHBIBBHH",
            *(data, 0, self.type, self.model, DEVICE_TYPE, model.byte, self.facilities),
            *(0x20, model.unit_type, narrow, HEADS),
        )
        struct.pack_into(">BBHH", data, 16, SECTORS, 0, TRACK_LENGTH, _HOME_AND_R0)
        struct.pack_into(">BBBBBB", data, 22, 2, 34, 19, 9, 6, 116)
        struct.pack_into(
            ">BBBBHBBBH",
            *(data, 40, model.unit_type, model.unit_type, self.type_code, _PARAMETER_LENGTH),
            *(geometry.LONGEST_R0, 0, 1, 6, _RPS_FACTOR),
        )
        data[51:55] = self.feature_limits
        data[57] = 0xFF
        struct.pack_into(">I", data, 60, cylinders)
        return bytes(data)

    def configuration(self, model: Model, serial: str, device: int) -> bytes:
        """The answer to Read Configuration Data, 256 bytes, for device number *device* (16 bits).

        Four node element descriptors - device, string, storage director, subsystem - and at the end
        the general node element qualifier, which Linux needs, too.
        """
        device_model = f"{0:X}{model.byte:02X}"
        cu_type, cu_model = f"{self.type:04X}", f"{0:X}{self.model:02X}"
        unit = device & 0xFF
        subsystem = device & 0xFF00
        neds = (
            _ned(0xDC010100, f"00{DEVICE_TYPE:04X}", device_model, serial, device),
            _ned(0xD4020000, f"  {DEVICE_TYPE:04X}", device_model, "000000000003", 0),
            _ned(0xD0000000, f"  {cu_type}", cu_model, "000000000002", device >> 8),
            _ned(0xF0000001, f"  {cu_type}", "   ", "000000000001", 0),
        )
        qualifier = struct.pack(
            ">BBHHBBHBBBBBHBBB",
            *(0x80, 0, 0, 0),
            _MISSING_INTERRUPT_SECONDS,
            0,
            subsystem,
            *(0x80, unit, unit, unit, 0),
            *(0, 0x80, 0x80, unit),
        )
        return b"".join(neds).ljust(CONFIGURATION_LENGTH - 32, b"\0") + qualifier.ljust(32, b"\0")

    def subsystem_status(self, device: int) -> bytes:
        """The answer to Sense Subsystem Status: no cache, no fast write, all 32 devices there."""
        data = bytearray(self.status_length)
        data[0] = 1 if self.status_length > 40 else 0
        data[1] = device & 0xFF
        data[2] = 31
        struct.pack_into(">H", data, 38, device & 0xFF00)
        return bytes(data)


_HOME_AND_R0 = 1428
_PARAMETER_LENGTH = 2
_RPS_FACTOR = 0x7708
_MISSING_INTERRUPT_SECONDS = 0x1E


def _ned(flags: int, type_: str, model: str, serial: str, tag: int) -> bytes:
    """A node element descriptor: 4 bytes of flags, 26 EBCDIC characters, a 16-bit tag."""
    text = f"{type_}{model}{_MAKER}{_PLANT}{serial}".encode("cp037")
    return struct.pack(">I26sH", flags, text, tag)


def _read_subsystem_data(length: int) -> int:
    """The CIW for Read Subsystem Data."""
    return 0x423E0000 | length


CONTROL_UNITS: Final = {
    unit.name: unit
    for unit in (
        ControlUnit(
            name="3990-2",
            type=0x3990,
            model=0xC2,
            ciws=(_CIW_RCD,),
            facilities=0xD0000000,
            type_code=0x05,
            feature_limits=bytes.fromhex("00 0000 00"),
            extended=False,
            caches=False,
            prefix=False,
            recalibrates=True,
            status_length=40,
            write_inhibited=c.SNS0_EQUIPMENT_CHECK,
        ),
        ControlUnit(
            name="3990-3",
            type=0x3990,
            model=0xEC,
            ciws=(_CIW_RCD, _CIW_SET_INTERFACE_IDENTIFIER, _read_subsystem_data(0x40)),
            facilities=0xD0801094,
            type_code=0x06,
            feature_limits=bytes.fromhex("0f 003f 00"),
            extended=False,
            caches=True,
            prefix=False,
            recalibrates=True,
            status_length=40,
            write_inhibited=c.SNS0_EQUIPMENT_CHECK,
        ),
        ControlUnit(
            name="3990-6",
            type=0x3990,
            model=0xE9,
            ciws=(_CIW_RCD, _CIW_SET_INTERFACE_IDENTIFIER, _read_subsystem_data(0x60)),
            facilities=0x50001096,
            type_code=0x15,
            feature_limits=bytes.fromhex("0f 007f 40"),
            extended=True,
            caches=True,
            prefix=False,
            recalibrates=False,
            status_length=44,
            write_inhibited=c.SNS0_EQUIPMENT_CHECK,
        ),
        ControlUnit(
            name="2107",
            type=0x2107,
            model=0xE8,
            ciws=(
                _CIW_RCD,
                _CIW_SET_INTERFACE_IDENTIFIER,
                _read_subsystem_data(0x1A0),
                0x433E0008,
            ),
            facilities=0x528010B7,
            type_code=0x1F,
            feature_limits=bytes.fromhex("00 0000 48"),
            extended=True,
            caches=True,
            prefix=True,
            recalibrates=False,
            status_length=40,
            write_inhibited=c.SNS0_CMD_REJECT,
        ),
    )
}
"""By the name that `cu=` takes."""
