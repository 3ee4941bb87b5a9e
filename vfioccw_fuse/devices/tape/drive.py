"""What every tape drive does: motion, reading, writing, and saying what went wrong.

A program may move a tape over a million blocks with one command. Others have their turn meanwhile,
and a halt or clear gets through; it leaves the tape where it is then, as on a drive.

Sources: the descriptions of the 3803/3420 (GA32-0020) and 3490 (GA32-0127), Linux's tape_std, and
the recorded programs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, Self, TypeVar

from ...errors import UserError
from ...regions import constants as c
from ...sizes import parse_size
from ..base import ENDED, UE, DataTransfer, Device, UnitCheck, command
from ..options import NO_MEDIUM, READONLY, SYNC, DeviceSpec, Option, Options, Owner
from . import codes
from .aws import EARLY_WARNING, AwsTape, MediumError
from .sense import TROUBLES, Condition, DriveState, unit_status

SLICE: Final = 64
"""Blocks passed between two looks at the clock."""
Drive = TypeVar("Drive", bound="TapeDrive")


LONGEST_TAPE: Final = 4 << 40
"""Bytes of the longest tape that `length=` makes: no cartridge has more, and few files."""


def _parse_length(text: str) -> int:
    size = parse_size(text)
    if not 2 * EARLY_WARNING <= size <= LONGEST_TAPE:
        raise UserError(f"{2 * EARLY_WARNING >> 10}KiB to {LONGEST_TAPE >> 40}TiB")
    return size


LENGTH: Final = Option(
    word="length",
    owner=Owner.DEVICE,
    metavar="SIZE",
    help="the tape ends there, with unit exception on every write in the 128 KiB before",
    parse=_parse_length,
)


class TapeDrive(Device):
    """A tape drive with a tape in the AWS format, or without one (image `-`).

    After Rewind Unload the drive has no tape until another is loaded. A clear or a reset does not
    move the tape.
    """

    longest_block: ClassVar[int] = 65535
    """Bytes of the longest block that the control unit writes."""
    description = "tape drive"
    takes = "AWS image, or - for none"
    options = Options(READONLY, SYNC, LENGTH)
    loads = True
    unload_status: ClassVar[int] = 0
    """What the control unit adds to the unit status of Rewind Unload."""

    def __init__(self, name: str, tape: AwsTape | None, device_number: int = 0) -> None:
        super().__init__(name)
        self.tape = tape
        """The tape; None when the drive is empty."""
        self.media = () if tape is None else (tape.medium,)
        self.device_number = device_number
        """Stands for a serial number in sense data."""
        self.protected = False
        """The program has protected the tape logically (Perform Subsystem Function)."""
        self.previous: int | None = None
        """Command code of the command before in this channel program."""

    @classmethod
    def open(cls: type[Drive], spec: DeviceSpec) -> Drive:
        """Attach the tape image that *spec* names, if any; UserError for what is no tape."""
        tape = None
        if spec.path not in NO_MEDIUM:
            readonly, capacity = spec.get(READONLY, False), spec.get(LENGTH, None)
            tape = AwsTape.open(spec.path, readonly=readonly, capacity=capacity)
        number = int(spec.schid.rpartition(".")[2], 16)
        return cls(f"tape {cls.type_name} {spec.path}", tape, number)

    def close(self) -> None:
        """Take the tape out."""
        super().close()
        self.tape = None

    def exchange(self, other: Self) -> None:
        """As `Device.exchange`; what protected the tape logically went with it."""
        super().exchange(other)
        self.tape, other.tape = other.tape, None
        self.protected = False

    def begin(self) -> None:
        """A new program: what chained commands left behind is gone."""
        self.previous = None

    def execute(self, code: int, io: DataTransfer) -> int:
        """Do one command; trouble with the medium becomes the unit check that tells it."""
        try:
            status = super().execute(code, io)
        except MediumError as error:
            check = self.check(TROUBLES[error.trouble])
            self.sense, status = check.sense, check.status
        self.previous = code
        return status

    # ---------------------------------------------------------------------------------- sense
    def check(self, condition: Condition) -> UnitCheck:
        """The unit check that presents *condition*, to be raised."""
        return UnitCheck(self.build_sense(condition), unit_status(condition))

    def build_sense(self, condition: Condition) -> bytes:
        """The model's sense data for *condition* and the drive as it is now."""
        raise NotImplementedError

    def state(self) -> DriveState:
        """What sense data tells of the drive."""
        tape = self.tape
        if tape is None:
            return DriveState(loaded=False)
        protected = tape.readonly or self.protected
        return DriveState(True, tape.at_load_point, protected, tape.past_early_warning)

    def take_sense(self) -> bytes:
        """The sense data of the last unit check, or else how the drive is."""
        if not self.sense:
            self.sense = self.build_sense(Condition.NONE)
        return super().take_sense()

    def reject(self, code: int) -> UnitCheck:
        """What refuses command *code*."""
        return self.check(Condition.REJECTED)

    # --------------------------------------------------------------------------- for commands
    def loaded(self) -> AwsTape:
        """The tape; unit check (intervention required) when there is none."""
        if self.tape is None:
            raise self.check(Condition.UNLOADED)
        return self.tape

    def writable(self) -> AwsTape:
        """The tape; unit check when there is none or it is protected."""
        tape = self.loaded()
        if tape.readonly or self.protected:
            raise self.check(Condition.PROTECTED)
        return tape

    def move(self, io: DataTransfer, step: Callable[[], bool]) -> None:
        """Do *step* until it gives False."""
        slices = SLICE
        while step():
            slices -= 1
            if not slices:
                slices = SLICE
                io.breathe()

    def locate(self, io: DataTransfer, tape: AwsTape, block: int) -> None:
        """Go to block number *block*; unit check when the tape ends before."""
        if block < tape.block_number:
            tape.rewind()

        def step() -> bool:
            if tape.block_number < block:
                tape.space_forward()
            return tape.block_number < block

        try:
            self.move(io, step)
        except MediumError:
            raise self.check(Condition.NOT_LOCATED) from None

    def cannot_write(self) -> UnitCheck:
        """Write check: the tape could not be written."""
        return self.check(Condition.WRITE_CHECK)

    def synchronize(self, tape: AwsTape) -> None:
        """Let the program wait until what was written is on the disk."""
        if tape.readonly:
            return
        try:
            tape.sync()
        except MediumError:
            raise self.cannot_write() from None

    @staticmethod
    def written(tape: AwsTape) -> int:
        """Unit status after something was written: unit exception near the end of the tape."""
        return ENDED | (UE if tape.past_early_warning else 0)

    # ------------------------------------------------------------------------------- commands
    @command(c.CCW_CMD_NOOP)
    def no_operation(self, io: DataTransfer) -> int | None:
        """No-Operation; it needs a tape."""
        self.loaded()
        return None

    @command(codes.READ_FORWARD)
    def read(self, io: DataTransfer) -> int | None:
        """Read: the next block; a tape mark gives no data and unit exception."""
        data = self.loaded().read()
        io.give(b"" if data is None else data)
        return ENDED | UE if data is None else None

    @command(codes.READ_BACKWARD)
    def read_backward(self, io: DataTransfer) -> int | None:
        """Read Backward: the block before, its last byte at the CCW's data address.

        The data goes to the channel in the order of the tape; the channel stores it downwards. A
        count shorter than the block gets the end of the block.
        """
        data = self.loaded().read_backward()
        io.give(b"" if data is None else data, backward=True)
        return ENDED | UE if data is None else None

    @command(codes.WRITE)
    def write(self, io: DataTransfer) -> int | None:
        """Write one block, as long as the CCWs' counts."""
        tape = self.writable()
        data = io.take(self.longest_block + 1, variable=True)
        if len(data) > self.longest_block:
            raise self.check(Condition.BLOCK_TOO_LONG)
        if data:
            tape.write(data)
        return self.written(tape)

    @command(codes.WRITE_TAPE_MARK)
    def write_tape_mark(self, io: DataTransfer) -> int | None:
        """Write Tape Mark."""
        tape = self.writable()
        tape.write_mark()
        return self.written(tape)

    @command(codes.ERASE_GAP)
    def erase_gap(self, io: DataTransfer) -> int | None:
        """Erase Gap: there are no gaps in the file, so nothing moves."""
        return self.written(self.writable())

    @command(codes.DATA_SECURITY_ERASE)
    def data_security_erase(self, io: DataTransfer) -> int | None:
        """Data Security Erase: everything behind here; it must follow Erase Gap."""
        if self.previous != codes.ERASE_GAP:
            self.loaded()
            raise self.check(Condition.REJECTED)
        self.writable().erase()
        return None

    @command(codes.REWIND)
    def rewind(self, io: DataTransfer) -> int | None:
        """Rewind to the load point."""
        self.loaded().rewind()
        return None

    @command(codes.REWIND_UNLOAD)
    def rewind_unload(self, io: DataTransfer) -> int | None:
        """Rewind Unload: the drive is empty then, which it says with a unit check."""
        self.loaded()
        self.close()
        check = self.check(Condition.HAS_UNLOADED)
        check.status |= self.unload_status
        raise check

    @command(codes.FORSPACE_BLOCK)
    def forward_space_block(self, io: DataTransfer) -> int | None:
        """Forward Space Block; unit exception when it was a tape mark."""
        return None if self.loaded().space_forward() else ENDED | UE

    @command(codes.BACKSPACE_BLOCK)
    def backspace_block(self, io: DataTransfer) -> int | None:
        """Backspace Block; unit exception when it was a tape mark."""
        return None if self.loaded().space_backward() else ENDED | UE

    @command(codes.FORSPACE_FILE)
    def forward_space_file(self, io: DataTransfer) -> int | None:
        """Forward Space File: behind the next tape mark, without unit exception."""
        tape = self.loaded()
        self.move(io, tape.space_forward)
        return None

    @command(codes.BACKSPACE_FILE)
    def backspace_file(self, io: DataTransfer) -> int | None:
        """Backspace File: before the tape mark before; the load point is a unit check."""
        tape = self.loaded()
        self.move(io, tape.space_backward)
        return None
