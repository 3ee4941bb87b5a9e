"""The 3480: cartridges behind a buffered control unit (GA32-0127 describes it with the 3490).

Blocks have numbers, which Read Block ID gives and Locate Block finds; commands of a supervisor are
shut out by Mode Set; errors are told by their recovery action. Everything written is with the
operating system at once, so the control unit's buffer is always empty: Synchronize and Set
Tape-Write-Immediate wait for the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ...regions import constants as c
from ...regions.codec import PATH_GROUP_ID
from ..base import ATTENTION, DE, UE, DataTransfer, command
from ..pathgroups import ID_SIZE
from . import codes
from .aws import AwsTape
from .drive import TapeDrive
from .paths import DrivePaths
from .sense import Condition, sense_3480


class Tape3480(TapeDrive):
    """A 3480 model D31 drive."""

    type_name = "3480"
    words = codes.T3480
    sense_length = 24
    ready = ATTENTION | DE | UE  # what Linux's tape_34xx takes for a tape that was inserted
    sense_id = bytes.fromhex("ff 3480 31 3480 31")
    unit = 0xF
    """The model, in sense byte 27."""
    device_type = 0x3480
    model = 0x31
    """Of the drive and of its control unit."""
    record_ids: tuple[int, int] = (0x41, 0x80)
    """Ids for error records: MDR, OBR (Read Device Characteristics bytes 40 and 41)."""
    psf_sizes: ClassVar[Mapping[int, int]] = codes.PSF_SIZES
    """The orders of Perform Subsystem Function that the model knows, and their bytes."""

    def __init__(self, name: str, tape: AwsTape | None, device_number: int = 0) -> None:
        super().__init__(name, tape, device_number)
        self.display = ("", "")
        """The messages on the drive's display."""
        self._paths = DrivePaths()
        self._supervisor_inhibited = False

    def begin(self) -> None:
        """A new program: Mode Set is over."""
        super().begin()
        self._supervisor_inhibited = False

    def build_sense(self, condition: Condition) -> bytes:
        """The 24 or 32 bytes for *condition*."""
        return sense_3480(
            condition,
            self.state(),
            unit=self.unit,
            device_number=self.device_number,
            length=self.sense_length,
        )

    def accept(self, accepted: bool) -> None:
        """Reject the command unless *accepted*."""
        if not accepted:
            raise self.check(Condition.REJECTED)

    def supervisor(self, io: DataTransfer, *, alone: bool = False) -> None:
        """The command is a supervisor's; *alone* ones must be first in their program."""
        self.accept(not self._supervisor_inhibited and (io.first or not alone))

    # ------------------------------------------------------------------------ blocks and tape
    @command(codes.READ_BLOCK_ID)
    def read_block_id(self, io: DataTransfer) -> int | None:
        """Read Block ID: where the tape is for the channel and, the same here, on the medium."""
        block = codes.BLOCK_ID_WRAP | self.loaded().block_number & codes.BLOCK_ID_NUMBER
        io.give(codes.BLOCK_IDS.pack(codes.BlockIds(channel=block, device=block)))
        return None

    @command(codes.LOCATE)
    def locate_block(self, io: DataTransfer) -> int | None:
        """Locate Block: 4 bytes of block id."""
        tape = self.loaded()
        data = io.take(codes.BLOCK_ID.size)
        self.accept(len(data) == codes.BLOCK_ID.size)
        block_id = codes.BLOCK_ID.parse(data).block
        self.accept(block_id & codes.BLOCK_ID_FORMAT != codes.BLOCK_ID_FORMAT)
        self.locate(io, tape, block_id & codes.BLOCK_ID_NUMBER)
        return None

    @command(codes.SYNC)
    def synchronize_tape(self, io: DataTransfer) -> int | None:
        """Synchronize: wait until the disk has everything."""
        self.synchronize(self.loaded())
        return None

    @command(codes.SET_TAPE_WRITE_IMMEDIATE)
    def set_tape_write_immediate(self, io: DataTransfer) -> int | None:
        """Set Tape-Write-Immediate: as Synchronize, but an empty drive may have it."""
        if self.tape is not None:
            self.synchronize(self.tape)
        return None

    @command(codes.READ_BUFFER)
    def read_buffer(self, io: DataTransfer) -> int | None:
        """Read Buffer: data that was not yet written, and there is never any."""
        self.loaded()
        io.give(b"")
        return None

    # --------------------------------------------------------------------- modes, paths, text
    @command(codes.MODE_SET_DB)
    def mode_set(self, io: DataTransfer) -> int | None:
        """Mode Set: write-immediate and compaction change nothing; supervisor inhibit does."""
        self.accept(not self._supervisor_inhibited)
        data = io.take(1)
        self.accept(len(data) == 1)
        self._supervisor_inhibited = data[0] & codes.MODE_SUPERVISOR_INHIBIT != 0
        return None

    @command(*codes.MODE_SET_1, codes.MODE_SET_800, codes.MODE_SET_6250)
    def old_mode_set(self, io: DataTransfer) -> int | None:
        """Mode Set of older drives: nothing happens."""
        return None

    @command(c.CCW_CMD_SUSPEND_RECONN)
    def suspend_multipath_reconnection(self, io: DataTransfer) -> int | None:
        """Suspend Multipath Reconnection: every program is done on one path anyway."""
        self.supervisor(io)
        return None

    @command(c.CCW_CMD_SENSE_PGID)
    def sense_path_group_id(self, io: DataTransfer) -> int | None:
        """Sense Path Group ID: path state and id, 12 bytes."""
        self.supervisor(io, alone=True)
        io.give(self._paths.sense(io.path))
        return None

    @command(c.CCW_CMD_SET_PGID)
    def set_path_group_id(self, io: DataTransfer) -> int | None:
        """Set Path Group ID: function and id, 12 bytes."""
        self.supervisor(io, alone=True)
        self.accept(self._paths.set(io.path, io.take(PATH_GROUP_ID.size)))
        return None

    @command(codes.ASSIGN)
    def assign(self, io: DataTransfer) -> int | None:
        """Assign: 11 bytes, the group or zeros."""
        self.supervisor(io)
        self.accept(self._paths.assign(io.take(ID_SIZE)))
        return None

    @command(codes.UNASSIGN)
    def unassign(self, io: DataTransfer) -> int | None:
        """Unassign: 11 bytes that say nothing."""
        self.supervisor(io)
        self.accept(self._paths.unassign(io.take(ID_SIZE)))
        return None

    @command(codes.CONTROL_ACCESS)
    def control_access(self, io: DataTransfer) -> int | None:
        """Control Access: function and password, 12 bytes."""
        self.supervisor(io)
        self.accept(self._paths.control_access(io.take(1 + ID_SIZE)))
        return None

    @command(codes.LOAD_DISPLAY)
    def load_display(self, io: DataTransfer) -> int | None:
        """Load Display: what the operator reads on the drive."""
        self.supervisor(io)
        data = io.take(codes.DISPLAY_SIZE)
        function = data[0] & codes.DISPLAY_FUNCTION if data else codes.DISPLAY_NO_CHANGE
        if function == codes.DISPLAY_RESET:
            self.display = ("", "")
        elif function != codes.DISPLAY_NO_CHANGE:
            text = data[1:].decode("cp037").ljust(codes.DISPLAY_SIZE - 1)
            shown = "".join(letter if letter.isprintable() else " " for letter in text)
            self.display = (shown[:8].rstrip(), shown[8:].rstrip())
        return None

    # --------------------------------------------------------------------- what the drive is
    @command(c.CCW_CMD_RDC)
    def read_device_characteristics(self, io: DataTransfer) -> int | None:
        """Read Device Characteristics: 64 bytes."""
        io.give(self.characteristics())
        return None

    def characteristics(self) -> bytes:
        """Unit types, features, ids for error records, longest block."""
        mdr, obr = self.record_ids
        told = codes.Characteristics(
            cu_type=self.device_type,
            cu_model=self.model,
            device_type=self.device_type,
            device_model=self.model,
            facilities=0x2C0,
            device_class=0x80,
            device_code=0x80,
            real_cu_type=self.device_type,
            real_cu_model=self.model,
            real_device_type=self.device_type,
            real_device_model=self.model,
            mdr=mdr,
            obr=obr,
            longest_read=self.longest_block,
            longest_written=self.longest_block,
        )
        return codes.CHARACTERISTICS.pack(told)

    @command(codes.READ_BUFFERED_LOG)
    def read_buffered_log(self, io: DataTransfer) -> int | None:
        """Read Buffered Log: 32 bytes of counters, all zero."""
        log = bytearray(self.build_sense(Condition.NONE).ljust(codes.BUFFERED_LOG_SIZE, b"\0"))
        log[7] = codes.FORMAT_BUFFERED_LOG
        io.give(bytes(log))
        return None

    # ------------------------------------------------------------ perform subsystem function
    def perform(self, order: int, data: bytes) -> bool:
        """An order of Perform Subsystem Function; False rejects it."""
        parameter = data[2] if len(data) > 2 else 0
        if order in (codes.PSF_ACTIVATE_LOGGING, codes.PSF_DEACTIVATE_LOGGING):
            return parameter in (1, 2)
        if order in (codes.PSF_ACTIVATE_ACCESS, codes.PSF_DEACTIVATE_ACCESS):
            if not parameter or parameter & ~codes.ACCESS_KINDS:
                return False
            if parameter & codes.ACCESS_WRITE_PROTECT:
                self.protected = order == codes.PSF_ACTIVATE_ACCESS
            return True
        if order == codes.PSF_PIN:
            return parameter in (0, 1)
        if order == codes.PSF_MESSAGE_NOT_SUPPORTED:
            return parameter in (1, 2) and data[6:8] == b"\0\0"
        return order in (codes.PSF_RESET_FENCED, codes.PSF_UNPIN)

    @command(codes.PERFORM_SUBSYSTEM_FUNC)
    def perform_subsystem_function(self, io: DataTransfer) -> int | None:
        """Perform Subsystem Function: order, zero flags, parameters."""
        self.supervisor(io)
        data = io.take(2)
        self.accept(len(data) == 2 and data[1] == 0 and data[0] in self.psf_sizes)
        size = self.psf_sizes[data[0]]
        data += io.take(size - 2) if size > 2 else b""
        self.accept(len(data) == size and self.perform(data[0], data))
        return None
