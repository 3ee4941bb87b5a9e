"""Fixed-block disks: 9336 behind a 6310, 3370 behind a 3880, on a raw image of 512-byte blocks.

Block n is at byte 512 n. A program defines an extent, locates blocks in it and reads or writes them
with the very next command. Rules: IBM 9336 and 3370 descriptions as Linux (dasd_fba) uses them, and
what the recorded programs show.
"""

from __future__ import annotations

import logging
from typing import ClassVar, Final, NoReturn

from ...errors import UserError
from ...regions import constants as c
from .. import dasd
from ..base import EQUIPMENT_CHECK, DataTransfer, UnitCheck, command
from ..identify import Kind, identify
from ..locks import Use
from ..medium import Medium
from ..options import READONLY, SHARED, SYNC, DeviceSpec, Option, Options, Owner
from ..reservation import Reservable
from . import codes

log = logging.getLogger(__name__)

READS: Final = (codes.READ_DATA, codes.READ_REPLICATED)
"""Operations of Locate that prepare a Read."""
WRITES: Final = (codes.WRITE_DATA, codes.WRITE_AND_VERIFY, codes.FORMAT_DEFECTIVE)
"""Operations of Locate that prepare a Write."""
OPERATIONS: Final = frozenset({*READS, *WRITES})
ZEROS: Final = bytes(64 << 10)
"""What blocks are filled with that a short Write leaves."""


def _parse_format(text: str) -> str:
    if text != "raw":
        raise UserError("only raw can be said")
    return text


FORMAT: Final = Option(
    word="format",
    owner=Owner.DEVICE,
    metavar="raw",
    help="the file is taken as a raw disk, whatever format it looks like",
    parse=_parse_format,
)


class Fba(Reservable):
    """A fixed-block disk. Its image is open for as long as the device is attached."""

    type_name: ClassVar[str] = "fba"
    description = "fixed-block disk"
    takes = "raw image of 512-byte blocks"
    places = "blocks"
    options = Options(READONLY, SHARED, FORMAT, SYNC)
    words = codes.WORDS
    sense_length = 24
    model: ClassVar[str] = "9336"
    device_type: ClassVar[int] = 0x11
    """Byte 3 of the device characteristics."""
    blocks_per_group: ClassVar[int] = 63
    blocks_per_access_position: ClassVar[int] = 315
    sense_id = bytes.fromhex("ff631001933600")
    unreserved = frozenset({c.CCW_CMD_BASIC_SENSE, c.CCW_CMD_SENSE_ID, dasd.SLCK})

    def __init__(self, medium: Medium, readonly: bool) -> None:
        """*medium* is the image, of whole blocks; the device closes it."""
        super().__init__(f"fba {self.model} {medium.path}")
        self.media = (medium,)
        self._medium = medium
        medium.keep_size()
        self.blocks = medium.size_at_open // codes.BLOCK
        """Capacity in blocks of 512 bytes."""
        self.readonly = readonly
        """Writes are refused: sense command reject, write inhibited."""
        self._extent: tuple[int, int, int] | None = None
        self._mask = codes.MASK_INHIBIT_FORMAT
        self._located: tuple[int, int, int] | None = None

    @classmethod
    def open(cls, spec: DeviceSpec) -> Fba:
        """Attach the image; UserError if there is none, or it is no raw disk.

        UserError, too, while somebody uses it who does not bear that.
        """
        readonly, shared = spec.get(READONLY, False), spec.get(SHARED, False)
        medium = open_image(spec.path, Use.of(readonly=readonly, shared=shared))
        try:
            _check_image(medium, as_it_is=spec.get(FORMAT, None) is not None)
        except BaseException:
            medium.close()
            raise
        device = cls(medium, readonly)
        if shared and not readonly:
            device.share(medium)
        return device

    @property
    def capacity(self) -> int:
        """The blocks of the disk."""
        return self.blocks

    def at(self) -> range:
        """The blocks that the Locate just before has named."""
        if self._located is None:
            return range(0)
        _, block, count = self._located
        return range(block, block + count)

    def begin(self) -> None:
        """An extent, what it permits and a located domain hold for one channel program."""
        self._extent = None
        self._mask = codes.MASK_INHIBIT_FORMAT
        self._located = None

    def _refuse(self, byte1: int = 0) -> NoReturn:
        raise UnitCheck(bytes([c.SNS0_CMD_REJECT, byte1]))

    def execute(self, code: int, io: DataTransfer) -> int:
        """As `Device.execute`; what was located is good for the next command only."""
        located = self._located
        if located is None:
            return Reservable.execute(self, code, io)
        status = Reservable.execute(self, code, io)
        if self._located is located:
            self._located = None
        return status

    @command(dasd.DEFINE_EXTENT)
    def define_extent(self, io: DataTransfer) -> int | None:
        """Define Extent: what is permitted on which blocks."""
        data = io.take(codes.DEFINE_EXTENT_DATA.size)
        if self._extent is not None or len(data) < codes.DEFINE_EXTENT_DATA.size:
            self._refuse()
        asked = codes.DEFINE_EXTENT_DATA.parse(data)
        if asked.mask & codes.MASK_RESERVED or asked.end < asked.begin:
            self._refuse()
        if asked.location + asked.end - asked.begin >= self.blocks:
            self._refuse()
        self._mask = asked.mask & codes.MASK_PERMISSION
        self._extent = (asked.location, asked.begin, asked.end)
        return None

    @command(codes.LOCATE)
    def locate(self, io: DataTransfer) -> int | None:
        """Locate: operation, replication count, block count, first block within the extent."""
        data = io.take(codes.LOCATE_DATA.size)
        if self._extent is None or len(data) < codes.LOCATE_DATA.size:
            self._refuse()
        asked, repetition, count, block = codes.LOCATE_DATA.parse(data)
        operation = asked & codes.OPERATION
        first, low, high = self._extent
        if asked & codes.OPERATION_RESERVED or operation not in OPERATIONS or not count:
            self._refuse()
        writes = operation in (codes.WRITE_DATA, codes.WRITE_AND_VERIFY)
        if writes and self._mask == codes.MASK_INHIBIT_WRITES:
            self._refuse()
        if operation == codes.FORMAT_DEFECTIVE and self._mask == codes.MASK_INHIBIT_FORMAT:
            self._refuse()
        if operation == codes.READ_REPLICATED and (repetition == 0 or repetition % count):
            self._refuse()
        if block < low or block + count - 1 > high:
            self._refuse()
        self._located = (operation, first + block - low, count)
        return None

    def _take_located(self, *operations: int) -> tuple[int, int]:
        """First block and count that the Locate just before this command prepared."""
        if self._located is None or self._located[0] not in operations:
            self._refuse()
        return self._located[1:]

    @command(codes.READ)
    def read(self, io: DataTransfer) -> int | None:
        """Read the blocks that Locate named."""
        block, count = self._take_located(*READS)
        return self._give_blocks(io, block, count)

    @command(c.CCW_CMD_READ_IPL)
    def read_ipl(self, io: DataTransfer) -> int | None:
        """Read IPL: block 0, with the whole disk as extent for what follows in the chain."""
        if not io.first:
            self._refuse()
        self._extent = (0, 0, self.blocks - 1)
        return self._give_blocks(io, 0, 1)

    def _give_blocks(self, io: DataTransfer, block: int, count: int) -> int | None:
        start, size = block * codes.BLOCK, count * codes.BLOCK
        try:
            moved = io.give_file(self._medium, start, size)
            short = moved < size and self._medium.size() < start + size
        except OSError:
            raise UnitCheck(EQUIPMENT_CHECK) from None
        if short:
            self._medium.tell_cut()
            raise UnitCheck(EQUIPMENT_CHECK)
        return None

    @command(codes.WRITE)
    def write(self, io: DataTransfer) -> int | None:
        """Write the blocks that Locate named; what the data does not reach becomes zeros."""
        block, count = self._take_located(*WRITES)
        if self.readonly:
            self._refuse(dasd.SENSE1_WRITE_INHIBITED)
        start, size = block * codes.BLOCK, count * codes.BLOCK
        try:
            moved = io.take_file(self._medium, start, size)
            while moved < size:
                zeros = ZEROS[: size - moved]
                self._medium.write(zeros, start + moved)
                moved += len(zeros)
                io.breathe()
        except OSError:
            raise UnitCheck(EQUIPMENT_CHECK) from None
        return None

    @command(c.CCW_CMD_RDC)
    def read_device_characteristics(self, io: DataTransfer) -> int | None:
        """Read Device Characteristics: 32 bytes, with the capacity."""
        io.give(self.characteristics())
        return None

    def characteristics(self) -> bytes:
        """The 32 bytes of device characteristics."""
        told = codes.Characteristics(
            modes=0x30,
            features=0x08,
            unit_type=self.device_type,
            blocks_per_cycle=self.blocks_per_group,
            blocks_per_position=self.blocks_per_access_position,
            blocks=self.blocks,
        )
        return codes.CHARACTERISTICS.pack(told)

    @command(dasd.RESERVE)
    def reserve(self, io: DataTransfer) -> int | None:
        """Device Reserve: then as Sense."""
        self.reservation.reserve()
        io.give(self.take_sense())
        return None

    @command(dasd.SLCK)
    def unconditional_reserve(self, io: DataTransfer) -> int | None:
        """Unconditional Reserve: then as Sense."""
        self.reservation.steal()
        io.give(self.take_sense())
        return None

    @command(dasd.RELEASE)
    def release(self, io: DataTransfer) -> int | None:
        """Device Release: then as Sense."""
        self.reservation.release()
        io.give(self.take_sense())
        return None

    @command(dasd.READ_BUFFERED_LOG)
    def read_and_reset_buffered_log(self, io: DataTransfer) -> int | None:
        """Read and Reset Buffered Log: no errors are logged."""
        io.give(bytes(self.sense_length))
        return None


class Fba3370(Fba):
    """The same disk as a 3370 behind a 3880."""

    type_name = "3370"
    model = "3370"
    device_type = 0x02
    blocks_per_group = 62
    blocks_per_access_position = 744
    sense_id = bytes.fromhex("ff388001337000")


def _check_image(medium: Medium, *, as_it_is: bool) -> None:
    """UserError unless *medium* is a raw disk, or has whole blocks and is taken *as_it_is*."""
    path, size = medium.path, medium.size_at_open
    found = identify(path, medium.fd, size)
    if found.kind is Kind.RAW:
        return
    if not as_it_is or found.kind in (Kind.EMPTY, Kind.UNKNOWN):
        raise found.refusal(Kind.RAW)
    if size % codes.BLOCK:
        raise UserError(
            f"{path}: {found.what} of {size} bytes, no multiple of {codes.BLOCK}; {found.remedy}"
        )
    log.warning("%s: %s; it is attached as a raw disk, as format=raw says", path, found.what)


def open_image(path: str, use: Use) -> Medium:
    """Open a medium's file for *use*; UserError if that fails."""
    try:
        return Medium.open(path, use.flags, use=use)
    except FileNotFoundError:
        raise UserError(f"{path}: no such image; make one with `vfioccw image create`") from None
    except PermissionError:
        hint = "attach it with readonly, or " if use.writes else ""
        raise UserError(f"{path}: no permission; {hint}change its mode") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path}: {reason}; name a file, or a block device") from None
