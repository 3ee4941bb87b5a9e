"""Commands to the control unit: identity, path groups, reservation, subsystem functions.

Rules: 3990 reference, *Sense and Subsystem Commands*; path groups: PoP, *Channel-path groups* and
Linux `device_pgid.c`; the data of Perform Subsystem Function: Linux `dasd_eckd.h`.
"""

from __future__ import annotations

import struct
from typing import Final

from ...regions import constants as c
from ...regions.codec import PATH_GROUP_ID
from ...regions.layouts import PathGroupId
from .. import pathgroups
from ..base import DataTransfer, UnitCheck, command
from ..pathgroups import NO_ID, PathGroups
from . import codes
from .codes import PREPARE_DATA, Message
from .control_unit import ControlUnit
from .geometry import model_of
from .image import CkdImage
from .orientation import INVALID_PARAMETER, INVALID_SEQUENCE, NOTHING, Orientation
from .pav import LogicalControlUnit

LOG_LENGTH: Final = 32
MESSAGE_ID_LENGTH: Final = 4


class Subsystem(Orientation):
    """The commands that do not touch the medium."""

    unreserved = frozenset(
        {
            codes.SENSE,
            c.CCW_CMD_SENSE_ID,
            codes.SENSE_PATH_GROUP_ID,
            codes.SET_PATH_GROUP_ID,
            codes.UNCONDITIONAL_RESERVE,
            codes.RESET_ALLEGIANCE,
        }
    )

    def __init__(
        self, name: str, image: CkdImage, control_unit: ControlUnit, serial: str, device: int
    ) -> None:
        """*serial*: 12 characters; *device*: device number, its last 8 bits the unit address."""
        super().__init__(name, image, control_unit)
        self.serial = serial
        self.device = device
        self.lcu: LogicalControlUnit | None = None
        """Whose base or alias it is; None: there are no aliases."""
        self._groups = PathGroups()
        self._suspended_first = False
        """The Suspend Multipath Reconnection done last was the first command of its program."""
        model = model_of(image.cylinders)
        self.sense_id = control_unit.sense_id(model)
        self.characteristics = control_unit.characteristics(model, image.cylinders)
        self.configuration = control_unit.configuration(model, serial, device)

    def not_of_this_base(self) -> UnitCheck:
        """Prefix names a base that this is not, and that it cannot take."""
        check = self.failed(c.SNS0_EQUIPMENT_CHECK, 0, Message.STATUS_NOT_AS_REQUIRED)
        data = bytearray(check.sense)
        data[8] = codes.NOT_OF_THIS_BASE
        return UnitCheck(bytes(data))

    def _is_first(self) -> bool:
        """First in the chain, but for Suspend Multipath Reconnection."""
        return self.previous < 0 or (
            self.previous == codes.SUSPEND_MULTIPATH_RECONNECTION and self._suspended_first
        )

    def _need_first(self) -> None:
        if not self._is_first():
            raise self.rejected(INVALID_SEQUENCE)

    # ------------------------------------------------------------------ identity

    @command(codes.READ_DEVICE_CHARACTERISTICS)
    def read_device_characteristics(self, io: DataTransfer) -> int | None:
        """Read Device Characteristics: 64 bytes."""
        io.give(self.characteristics)
        return None

    @command(codes.READ_CONFIGURATION_DATA)
    def read_configuration_data(self, io: DataTransfer) -> int | None:
        """Read Configuration Data: 256 bytes of node element descriptors."""
        io.give(self.configuration)
        return None

    @command(codes.SENSE_SUBSYSTEM_STATUS)
    def sense_subsystem_status(self, io: DataTransfer) -> int | None:
        """Sense Subsystem Status: the state of cache and fast write."""
        self._need_first_or_identity()
        if self.control_unit.type == 0x3990:
            self.only_next = NOTHING
        io.give(self.control_unit.subsystem_status(self.device))
        return None

    @command(codes.READ_BUFFERED_LOG)
    def read_buffered_log(self, io: DataTransfer) -> int | None:
        """Read and Reset Buffered Log: nothing was logged."""
        self._need_first_or_identity()
        io.give(bytes(LOG_LENGTH))
        return None

    def _need_first_or_identity(self) -> None:
        if not self._is_first() and self.previous not in _IDENTITY:
            raise self.rejected(INVALID_SEQUENCE)

    # ------------------------------------------------------------------ path groups

    @command(codes.SUSPEND_MULTIPATH_RECONNECTION)
    def suspend_multipath_reconnection(self, io: DataTransfer) -> int | None:
        """Suspend Multipath Reconnection: this program stays on its path, as all do here."""
        self._suspended_first = self.previous < 0
        return None

    @command(codes.SENSE_PATH_GROUP_ID)
    def sense_path_group_id(self, io: DataTransfer) -> int | None:
        """Sense Path Group ID: the state of this path, the group it is in, who has reserved."""
        self._need_first()
        self.only_next = NOTHING
        path = self._groups.path(io.path)
        state = path.state
        if self.reservation.owned:
            state |= pathgroups.RESERVED_HERE
        elif self.reservation.elsewhere:
            state |= pathgroups.RESERVED_ELSEWHERE
        io.give(PATH_GROUP_ID.pack(PathGroupId(state, path.group)))
        return None

    @command(codes.SET_PATH_GROUP_ID)
    def set_path_group_id(self, io: DataTransfer) -> int | None:
        """Set Path Group ID: put this path into a group, take it out, or disband the group."""
        self._need_first()
        asked = PATH_GROUP_ID.parse(self.parameters(io, PATH_GROUP_ID.size))
        if (
            asked.first & ~(pathgroups.MULTIPATH | pathgroups.FUNCTION)
            or asked.first & pathgroups.FUNCTION == pathgroups.FUNCTION
            or asked.group == NO_ID
            or self._groups.path(io.path).group not in (NO_ID, asked.group)
        ):
            raise self.rejected(INVALID_PARAMETER)
        self._groups.set(io.path, asked)
        self.only_next = NOTHING
        return None

    @property
    def has_host(self) -> bool:
        """A host has put paths into a group, as a driver does that uses the device."""
        return bool(self._groups.grouped())

    # ------------------------------------------------------------------ reservation

    @command(codes.RESERVE)
    def reserve(self, io: DataTransfer) -> int | None:
        """Device Reserve: then as Sense."""
        self._need_first()
        self.reservation.reserve()
        io.give(self.take_sense())
        return None

    @command(codes.UNCONDITIONAL_RESERVE)
    def unconditional_reserve(self, io: DataTransfer) -> int | None:
        """Unconditional Reserve: then as Sense."""
        self._need_first()
        self.reservation.steal()
        io.give(self.take_sense())
        return None

    @command(codes.RELEASE)
    def release(self, io: DataTransfer) -> int | None:
        """Device Release: then as Sense."""
        if self.extent_defined or self.mask_set or self.ipl:
            raise self.rejected(INVALID_SEQUENCE)
        self.reservation.release()
        io.give(self.take_sense())
        return None

    @command(codes.RESET_ALLEGIANCE)
    def reset_allegiance(self, io: DataTransfer) -> int | None:
        """Reset Allegiance: whether the device was reserved, and by which path group."""
        self._need_first()
        state = 0x90 if self.reservation.owned else 0x80
        io.give(bytes([state, 0x20, 0, 0, 0, *self._groups.path(io.path).group]).ljust(32, b"\0"))
        return None

    # ------------------------------------------------------------------ subsystem functions

    @command(codes.PERFORM_SUBSYSTEM_FUNCTION)
    def perform_subsystem_function(self, io: DataTransfer) -> int | None:
        """Perform Subsystem Function: an order; some prepare data for Read Subsystem Data."""
        data = self.parameters(io, 2)
        order, flags = data
        if order not in codes.PSF_SIZES:
            raise self.rejected(INVALID_PARAMETER)
        data += self.parameters(io, codes.PSF_SIZES[order] - len(data))
        if self.previous == codes.READ_SUBSYSTEM_DATA and order != codes.PSF_PREPARE:
            raise self.rejected(INVALID_SEQUENCE)
        if order == codes.PSF_PREPARE:
            self._prepare(PREPARE_DATA.parse(data))
        elif order == codes.PSF_SET_INTERFACE_IDENTIFIER:
            if flags & 0xFE:
                raise self.rejected(INVALID_PARAMETER)
            # The storage director's and the subsystem's node descriptors, and a qualifier.
            self._offer(self.configuration[64:128] + bytes(32))
        elif flags:
            raise self.rejected(INVALID_PARAMETER)
        return None

    def _offer(self, data: bytes) -> None:
        """Read Subsystem Data will give *data*; no other command may come before it."""
        self.subsystem_data = data
        self.only_next = _READ_SUBSYSTEM_DATA

    @command(codes.READ_SUBSYSTEM_DATA)
    def read_subsystem_data(self, io: DataTransfer) -> int | None:
        """Read Subsystem Data: what the order before has prepared."""
        if not self.subsystem_data:
            raise self.rejected(INVALID_SEQUENCE)
        data, self.subsystem_data = self.subsystem_data, b""
        self.only_next = _PERFORM_SUBSYSTEM_FUNCTION
        io.give(data)
        return None

    def _prepare(self, asked: codes.Prepare) -> None:
        """Prepare for Read Subsystem Data: do what the suborder says."""
        reserved = asked.flags | asked.reserved
        if asked.suborder not in codes.SUBS_OF_A_VOLUME:
            reserved |= asked.volume
        if asked.suborder == codes.SUB_STATISTICS:
            valid = asked.selector in (0x00, 0xFF) and asked.rest in (bytes(4), b"\x01\0\0\0")
        elif asked.suborder == codes.SUB_ATTENTION_MESSAGE:
            valid = asked.selector == 0
        else:
            valid = asked.selector == 0 and not any(asked.rest)
        if reserved or not valid:
            raise self.rejected(INVALID_PARAMETER)
        prepared = self._subsystem_data(asked.suborder, asked.rest)
        if prepared is None:
            raise self.rejected(INVALID_PARAMETER)
        self._offer(prepared)

    def _subsystem_data(self, suborder: int, rest: bytes) -> bytes | None:
        """What a suborder asks for; None: not defined. *rest*: bytes 8 to 11 of the order."""
        if suborder == codes.SUB_PATH_STATUS:
            attached = bytes([0xC0, 0x80]).ljust(16, b"\0")
            return (attached + b"\x01").ljust(24, b"\0") if self.control_unit.extended else attached
        if suborder == codes.SUB_STATISTICS:
            one = bytes([0, self.device & 0xFF]).ljust(96, b"\0")
            return one if not rest[0] else one + bytes(96)
        if suborder == codes.SUB_ATTENTION_MESSAGE:
            return struct.pack(">HBB4sB", 9, 0, 0, rest, 0)  # no message
        if suborder == codes.SUB_UNIT_ADDRESSES:
            return bytes(512) if self.lcu is None else self.lcu.unit_addresses()
        if suborder == codes.SUB_HOST_ACCESS:
            return self._host_access()
        if suborder == codes.SUB_FEATURES:
            return self._features()
        if suborder == codes.SUB_VOLUME_STORAGE:
            cylinders = self.image.cylinders
            return struct.pack(">BBHBBHIIIII", 0, 0, 0, 0, 0, 0, *[cylinders] * 5)
        if suborder == codes.SUB_LOGICAL_CONFIGURATION:
            return struct.pack(">HH", 32, 0).ljust(32, b"\0")  # no extent pools
        return None

    def _features(self) -> bytes:
        """The feature codes, 256 bytes: what Linux asks before it uses a newer command."""
        features = bytearray(256)
        if self.control_unit.prefix:
            for byte, bit in (
                codes.FEATURE_PREFIX,
                codes.FEATURE_READ_TRACK_DATA,
                codes.FEATURE_WRITE_TRACK_DATA,
            ):
                features[byte] |= bit
        return bytes(features)

    def _host_access(self) -> bytes:
        """The path groups that use the volume: a header, then 32 bytes for each."""
        entries = [
            struct.pack(">B11s8xII4x", 0x10, group, 0, self.image.cylinders)
            for group in self._groups.ids()
        ]
        length = 4 + 32 * len(entries)
        header = struct.pack(">BBHH10x", 0, 0, length, 0)
        return header + struct.pack(">BBH", 0, 32, len(entries)) + b"".join(entries)

    @command(codes.SET_SUBSYSTEM_MODE)
    def set_subsystem_mode(self, io: DataTransfer) -> int | None:
        """Set Subsystem Mode: cache and fast write on or off; there is none here."""
        if not self.control_unit.caches:
            raise self.rejected(Message.INVALID_COMMAND)
        self._need_first()
        data = self.parameters(io, 2)
        cache, fast_write = data[0] >> 5, data[0] >> 2 & 7
        nonvolatile, records = data[1] >> 5, data[1] >> 3 & 3
        requests = sum(request != 0 for request in (cache, fast_write, nonvolatile, records))
        slow = cache in (2, 3, 4) or fast_write == 4 or nonvolatile in (2, 4, 5)
        message = data[0] & codes.MODE_MESSAGE_REQUIRED
        if data[0] & 0x02 or data[1] & 0x07 or requests > 1 or (message and not slow):
            raise self.rejected(INVALID_PARAMETER)
        self.only_next = _READ_MESSAGE_ID if message else NOTHING
        return None

    @command(codes.READ_MESSAGE_ID)
    def read_message_id(self, io: DataTransfer) -> int | None:
        """Read Message ID: which message will tell of the end of the function before."""
        if self.previous not in (codes.SET_SUBSYSTEM_MODE, codes.PERFORM_SUBSYSTEM_FUNCTION):
            raise self.rejected(INVALID_SEQUENCE)
        self.only_next = NOTHING
        io.give(b"\xff" * MESSAGE_ID_LENGTH)
        return None


_IDENTITY = frozenset({codes.READ_DEVICE_CHARACTERISTICS, codes.READ_CONFIGURATION_DATA})
_READ_SUBSYSTEM_DATA = frozenset({codes.READ_SUBSYSTEM_DATA})
_PERFORM_SUBSYSTEM_FUNCTION = frozenset({codes.PERFORM_SUBSYSTEM_FUNCTION})
_READ_MESSAGE_ID = frozenset({codes.READ_MESSAGE_ID})
