"""The 3490: a 3480 that tells its configuration and answers for messages (GA32-0127)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import ClassVar, Final

from ...regions import constants as c
from ..base import DataTransfer, command
from .aws import AwsTape
from .t3480 import PSF_SIZES, Tape3480

PSF_PREPARE_READ: Final = 0x18
PREPARE_SIZE: Final = 12
PREPARE_ATTENTION_MESSAGE: Final = 0x03
"""The only sub-order of Prepare for Read Subsystem Data."""

MESSAGE_NONE: Final = 0x00
"""Format byte: there is no message."""
MESSAGE_STATUS: Final = 0x02
"""Format byte: the status of the operation that a message id names."""
MESSAGE_DELAYED: Final = 0x01
"""Message code: a delayed response."""

NED_SIZE: Final = 32
TYPE_TAPE: Final = bytes.fromhex("010200")
"""Node element descriptor: an I/O device, a magnetic tape."""
TYPE_CONTROL_UNIT: Final = bytes.fromhex("020000")


class Tape3490(Tape3480):
    """A 3490 model C10 drive."""

    type_name = "3490"
    sense_length = 32
    sense_id = bytes.fromhex("ff 3490 50 3490 50")
    unit = 0xE
    device_type = 0x3490
    model = 0x50
    record_ids = (0x42, 0x81)
    psf_sizes: ClassVar[Mapping[int, int]] = {**PSF_SIZES, PSF_PREPARE_READ: PREPARE_SIZE}

    def __init__(self, name: str, tape: AwsTape | None, device_number: int = 0) -> None:
        super().__init__(name, tape, device_number)
        self._prepared = b""

    def begin(self) -> None:
        """A new program: what Perform Subsystem Function prepared is gone."""
        super().begin()
        self._prepared = b""

    @command(0xCB)
    def not_a_mode_set(self, io: DataTransfer) -> int | None:
        """A mode of the 3420 and 3480 that the 3490 has no more."""
        raise self.reject(0xCB)

    @command(c.TAPE_SET_INTERFACE_ID)
    def set_interface_identifier(self, io: DataTransfer) -> int | None:
        """Set Interface Identifier: nothing happens."""
        return None

    def perform(self, order: int, data: bytes) -> bool:
        """The orders of the 3480, and Prepare for Read Subsystem Data."""
        if order != PSF_PREPARE_READ:
            return super().perform(order, data)
        if data[2:6] != bytes(4) or data[6] != PREPARE_ATTENTION_MESSAGE or data[7]:
            return False
        message = data[8:12]
        if message == bytes(4):
            self._prepared = struct.pack(">HBB4sB", 9, MESSAGE_NONE, 0, message, 0)
        else:
            # No operation is asynchronous here, so that the one asked for has ended long ago.
            self._prepared = struct.pack(
                ">HBB4sBB", 10, MESSAGE_STATUS, MESSAGE_DELAYED, message, 0, 0
            )
        return True

    @command(c.TAPE_RSSD)
    def read_subsystem_data(self, io: DataTransfer) -> int | None:
        """Read Subsystem Data: what Perform Subsystem Function just before it has prepared."""
        data, self._prepared = self._prepared, b""
        self.accept(bool(data) and self.previous == c.TAPE_PSF)
        io.give(data)
        return None

    @command(c.TAPE_READ_MESSAGE_ID)
    def read_message_id(self, io: DataTransfer) -> int | None:
        """Read Message ID: chained to a write; its id is zero as nothing is asynchronous."""
        previous = self.previous
        self.accept(previous is not None and previous & 3 == c.TAPE_WRITE)
        io.give(struct.pack(">HBBIBB", 10, MESSAGE_STATUS, MESSAGE_DELAYED, 0, 0, 0))
        return None

    @command(c.CCW_CMD_RCD)
    def read_configuration_data(self, io: DataTransfer) -> int | None:
        """Read Configuration Data: 160 bytes."""
        io.give(self.configuration())
        return None

    def configuration(self) -> bytes:
        """Node element descriptors of drive, control unit and token, and the general qualifier."""
        address = self.device_number & 0xF
        node = "003490C10HRCZZ000000000000".encode("cp037")
        drive = b"\xcc" + TYPE_TAPE + node + struct.pack(">H", address)
        control_unit = b"\xc4" + TYPE_CONTROL_UNIT + node + bytes(2)
        token = b"\xec" + bytes(3) + node + bytes(2)
        # Interface id 0080; extended information tells the upper half of sixteen drives.
        qualifier = struct.pack(">BBHB3xB", 0x80, 0x80, 0x0080, 0, address > 7)
        return drive + control_unit + bytes(NED_SIZE) + token + qualifier.ljust(NED_SIZE, b"\0")
