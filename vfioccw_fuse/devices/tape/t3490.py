"""The 3490: a 3480 that tells its configuration and answers for messages (GA32-0127)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ...regions import constants as c
from ..base import DataTransfer, command
from . import codes
from .aws import AwsTape
from .t3480 import Tape3480


class Tape3490(Tape3480):
    """A 3490 model C10 drive."""

    type_name = "3490"
    words = codes.T3490
    sense_length = 32
    sense_id = bytes.fromhex("ff 3490 50 3490 50")
    unit = 0xE
    device_type = 0x3490
    model = 0x50
    record_ids = (0x42, 0x81)
    psf_sizes: ClassVar[Mapping[int, int]] = {
        **codes.PSF_SIZES,
        codes.PSF_PREPARE_READ: codes.PREPARE.size,
    }

    def __init__(self, name: str, tape: AwsTape | None, device_number: int = 0) -> None:
        super().__init__(name, tape, device_number)
        self._prepared = b""

    def begin(self) -> None:
        """A new program: what Perform Subsystem Function prepared is gone."""
        super().begin()
        self._prepared = b""

    @command(codes.MODE_SET_800)
    def not_a_mode_set(self, io: DataTransfer) -> int | None:
        """A mode of the 3420 and 3480 that the 3490 has no more."""
        raise self.reject(codes.MODE_SET_800)

    @command(codes.SET_INTERFACE_ID)
    def set_interface_identifier(self, io: DataTransfer) -> int | None:
        """Set Interface Identifier: nothing happens."""
        return None

    def perform(self, order: int, data: bytes) -> bool:
        """The orders of the 3480, and Prepare for Read Subsystem Data."""
        if order != codes.PSF_PREPARE_READ:
            return super().perform(order, data)
        asked = codes.PREPARE.parse(data)
        if asked.reserved or asked.sub_order != codes.PREPARE_ATTENTION_MESSAGE or asked.sub_flags:
            return False
        # No operation is asynchronous here, so that the one asked for has ended long ago.
        self._prepared = ended_message(asked.message) if asked.message else no_message()
        return True

    @command(codes.READ_SUBSYSTEM_DATA)
    def read_subsystem_data(self, io: DataTransfer) -> int | None:
        """Read Subsystem Data: what Perform Subsystem Function just before it has prepared."""
        data, self._prepared = self._prepared, b""
        self.accept(bool(data) and self.previous == codes.PERFORM_SUBSYSTEM_FUNC)
        io.give(data)
        return None

    @command(codes.READ_MESSAGE_ID)
    def read_message_id(self, io: DataTransfer) -> int | None:
        """Read Message ID: chained to a write; its id is zero as nothing is asynchronous."""
        previous = self.previous
        self.accept(previous is not None and previous & 3 == codes.WRITE)
        io.give(ended_message(0))
        return None

    @command(c.CCW_CMD_RCD)
    def read_configuration_data(self, io: DataTransfer) -> int | None:
        """Read Configuration Data: 160 bytes."""
        io.give(self.configuration())
        return None

    def configuration(self) -> bytes:
        """Node element descriptors of drive, control unit and token, and the general qualifier."""
        address = self.device_number & 0xF
        name = "003490C10HRCZZ000000000000".encode("cp037")
        drive = codes.Node(0xCC, codes.NODE_TAPE, name, address)
        control_unit = codes.Node(0xC4, codes.NODE_CONTROL_UNIT, name, 0)
        token = codes.Node(0xEC, bytes(3), name, 0)
        qualifier = codes.Qualifier(0x80, 0x80, interface=0x0080, extended=int(address > 7))
        return b"".join((
            codes.NODE.pack(drive),
            codes.NODE.pack(control_unit),
            bytes(codes.NODE.size),
            codes.NODE.pack(token),
            codes.QUALIFIER.pack(qualifier),
        ))  # fmt: skip


def no_message() -> bytes:
    """What Read Subsystem Data gives when there is no message: 9 bytes."""
    size = codes.MESSAGE.size + 1
    return codes.MESSAGE.pack(codes.Message(size, codes.MESSAGE_NONE, 0, 0)).ljust(size, b"\0")


def ended_message(message: int) -> bytes:
    """The status of the operation of id *message*, which has ended: 10 bytes."""
    size = codes.MESSAGE.size + 2
    head = codes.Message(size, codes.MESSAGE_STATUS, codes.MESSAGE_DELAYED, message)
    return codes.MESSAGE.pack(head).ljust(size, b"\0")
