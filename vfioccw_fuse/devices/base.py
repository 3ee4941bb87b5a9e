"""The device's side of the I/O interface: commands, unit status, sense.

One handler per command, chosen by a table that the class builds from its decorated methods, so
that a device reads like its manual. Rules: Principles of Operation, chapter 16 (device status) and
the device manuals; common commands (No-Operation, Sense, Sense ID) are ESA/390 Common I/O-Device
Commands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, Self, TypeVar

from ..regions import constants as c
from ..regions.descriptions import EVERY_DEVICE, DeviceWords
from .options import NO_MEDIUM, DeviceSpec, Option, Options

if TYPE_CHECKING:
    from ..strand import Waits
    from .medium import Medium

CE: Final = c.SCSW_DSTAT_CHANNEL_END
DE: Final = c.SCSW_DSTAT_DEVICE_END
SM: Final = c.SCSW_DSTAT_STAT_MOD
UC: Final = c.SCSW_DSTAT_UNIT_CHECK
UE: Final = c.SCSW_DSTAT_UNIT_EXCEP
ATTENTION: Final = c.SCSW_DSTAT_ATTENTION
ENDED: Final = CE | DE
"""Unit status of a command that ended normally: channel end and device end together."""
EQUIPMENT_CHECK: Final = bytes([c.SNS0_EQUIPMENT_CHECK])
"""Sense data of a device that failed."""


class DataTransfer(Protocol):
    """The channel's side of one command: all CCWs that are data-chained to it."""

    @property
    def chaining(self) -> bool:
        """The CCW fetched last has command chaining: another command may follow (PoP 15)."""
        ...

    @property
    def first(self) -> bool:
        """This is the first command of the channel program."""
        ...

    @property
    def path(self) -> int:
        """The channel path in use, as an LPM bit (0x80 is the first path)."""
        ...

    def give(self, data: bytes | bytearray | memoryview, *, backward: bool = False) -> int:
        """Move *data* to storage; gives how many bytes the channel accepted.

        Fewer than offered when the CCW counts end or the channel found an error; the device then
        ends the operation. *backward* stores each byte at a descending address (read backward).
        """
        ...

    def give_file(self, medium: Medium, offset: int, length: int) -> int:
        """Move *length* bytes of *medium* at *offset* to storage, uncopied where it can be.

        Gives how many; fewer when the medium ends, or as `give`. OSError of the medium.
        """
        ...

    def take(self, length: int, *, variable: bool = False) -> bytes:
        """Fetch at most *length* bytes from storage; fewer when the CCW counts end.

        Fewer is an incorrect length, unless the device accepts any length up to *length*
        (*variable*, as a tape does). Where the channel finds an error this does not return.
        """
        ...

    def take_file(self, medium: Medium, offset: int, length: int) -> int:
        """Move at most *length* bytes of storage to *medium* at *offset*, uncopied where it can be.

        Gives how many; fewer as `take`. OSError of the medium, which then may have some of it.
        """
        ...

    def breathe(self) -> None:
        """The handler works long: let others have their turn here, if it is time."""
        ...


class Claim(Protocol):
    """What a program keeps from those of other devices while its chain lasts."""

    def end(self) -> None:
        """The chain has ended: others may go on."""
        ...


class UnitCheck(Exception):
    """A command ends with unit check: raise it in a handler.

    *sense* becomes the device's sense data; *status* is the unit status, by default channel end,
    device end and unit check. A command rejected at initial selection has unit check alone.
    """

    def __init__(self, sense: bytes, status: int = ENDED | UC) -> None:
        super().__init__(sense.hex())
        self.sense = sense
        self.status = status


class NotReady(Exception):
    """A handler must wait for *event*; the channel then calls it again.

    What it has taken before stays taken: the transfer goes on where the handler left it.
    """

    def __init__(self, event: Waits) -> None:
        super().__init__("device waits")
        self.event = event


class Busy(NotReady):
    """The device does not take the command: another system uses it. The channel tries again.

    Of a program's first command that is a busy device at initial selection: the start function
    stays pending (PoP 16, *Busy*).
    """


Handler = Callable[[Any, DataTransfer], int | None]
"""A command handler: moves its data and gives the unit status; None is channel end + device end."""

F = TypeVar("F", bound=Callable[..., int | None])


def command(*codes: int) -> Callable[[F], F]:
    """Mark a method as the handler of the command *codes* (0x00-0xff)."""

    def mark(function: F) -> F:
        function.ccw_codes = codes  # type: ignore[attr-defined]
        return function

    return mark


class Device:
    """A device behind one subchannel. Subclasses add commands with the `command` decorator."""

    type_name: ClassVar[str] = ""
    """What it is called, e.g. "fba"."""
    description: ClassVar[str] = ""
    """What it is, in a few words for people, e.g. "fixed-block disk"."""
    takes: ClassVar[str] = ""
    """What its medium is, e.g. "raw image of 512-byte blocks"."""
    words: ClassVar[DeviceWords] = EVERY_DEVICE
    """What people call its commands and sense bits."""
    sense_length: ClassVar[int] = 32
    """Bytes of sense data that the Sense command offers."""
    needs_another: ClassVar[bool] = False
    """It goes beside a device that has to be there before it."""
    sense_id: bytes = b""
    """Answer to Sense ID: ff, control unit type and model, device type and model, 00, CIWs.

    Empty: the command is rejected, as by what is older than it.
    """
    places: ClassVar[str] = ""
    """What its medium consists of, if that has numbers: `blocks` or `tracks`."""
    options: ClassVar[Options[Option[Any]]] = Options()
    """The options of this type, beside those that every device has."""
    loads: ClassVar[bool] = False
    """Its medium can be changed while it is attached: `exchange`."""
    ready: ClassVar[int] = DE
    """Unsolicited unit status that tells that a medium has come."""
    commands: ClassVar[Mapping[int, Handler]] = {}
    """Command code to handler, built when the class is."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        table: dict[int, Handler] = {}
        for base in reversed(cls.__mro__):
            for member in vars(base).values():
                for code in getattr(member, "ccw_codes", ()):
                    table[code] = member
        cls.commands = table

    def __init__(self, name: str) -> None:
        """*name* is what messages and `state` call the device, e.g. "fba 9336 disk.img"."""
        self.name = name
        self.spec: DeviceSpec | None = None
        """How it was attached; None if it was made without that."""
        self.sense = b""
        """Sense data kept until Sense reads it or the next unit check replaces it."""
        self.media: tuple[Medium, ...] = ()
        """The files that it reads and writes."""
        self.secures = False
        """Each command that writes ends when its data is on stable storage (`sync=always`)."""
        self.shared = False
        """Other systems use its medium, too: it is asked by `execute_shared`, and told by `leave`
        of each program's end."""
        self.claim: Claim | None = None
        """What the program in progress keeps from others; None: nothing."""
        self.attention: Callable[[int], None] = lambda status: None
        """Presents unsolicited unit status; set by the subchannel that the device is behind."""

    @property
    def reserved(self) -> str:
        """Who has reserved it: `here`, `elsewhere` or `none`; empty unless it is `shared`."""
        return ""

    @classmethod
    def open(cls, spec: DeviceSpec) -> Device:
        """Attach the medium that *spec* names; UserError says what is wrong with it."""
        raise NotImplementedError

    @classmethod
    def files(cls, spec: DeviceSpec) -> int:
        """How many files a device of *spec* keeps open."""
        return int(spec.path not in NO_MEDIUM)

    @property
    def capacity(self) -> int:
        """How many of its `places` the medium has, numbered from 0."""
        return 0

    def at(self) -> range:
        """The numbers of the blocks or tracks that the next command is for; empty: of none yet."""
        return range(0)

    def beside(self, others: Mapping[str, Device]) -> Device:
        """What goes behind a subchannel, when *others*, by subchannel id, are behind theirs.

        UserError if it cannot be together with them; nothing has changed then.
        """
        return self

    def withdraw(self) -> None:
        """It is to be taken away; UserError if others need it."""

    def begin(self) -> None:
        """A channel program starts: forget what holds only within one (extents, domains)."""

    def abandon(self) -> None:
        """The command in progress will not go on: halt, clear or a lost path ended its program."""
        self.leave()

    def leave(self) -> None:
        """The channel program has ended, or is suspended: others may have what it kept from them.

        Asked for at the end of a program only if the device is `shared` or has a `claim`.
        """
        claim, self.claim = self.claim, None
        if claim is not None:
            claim.end()

    def execute(self, code: int, io: DataTransfer) -> int:
        """Do one command; gives the unit status. A code without a handler is command reject.

        Raises NotReady when the device has to wait for an event: the command goes on when it is
        called again, and what has moved before stays moved. For its medium it waits where it is.
        """
        handler = self.commands.get(code)
        try:
            if handler is None:
                raise self.reject(code)
            status = handler(self, io)
        except UnitCheck as check:
            self.sense = check.sense
            return check.status
        return ENDED if status is None else status

    def execute_shared(self, code: int, io: DataTransfer) -> int:
        """As `execute`, of a device that is `shared`; Busy while another system has it."""
        return self.execute(code, io)

    def secure(self, status: int) -> int:
        """A command ends with *status*: wait until what it wrote is on stable storage.

        Gives the unit status, another one if that failed. Asked for only if the device `secures`.
        """
        try:
            for medium in self.media:
                if medium.unsynced:
                    medium.secure()
        except OSError:
            check = self.cannot_write()
            self.sense = check.sense
            return check.status
        return status

    def cannot_write(self) -> UnitCheck:
        """What says that the medium could not be written; devices with richer sense override it."""
        return UnitCheck(EQUIPMENT_CHECK)

    def reject(self, code: int) -> UnitCheck:
        """What refuses command *code*; devices with richer sense data override it."""
        return UnitCheck(bytes([c.SNS0_CMD_REJECT]))

    def take_sense(self) -> bytes:
        """The sense data, `sense_length` bytes, which this resets (Sense, or concurrent sense)."""
        data = self.sense.ljust(self.sense_length, b"\0")[: self.sense_length]
        self.sense = b""
        return data

    def reset(self) -> None:
        """A clear signal or system reset: drop what is in progress; the medium is untouched."""
        self.sense = b""

    def system_reset(self) -> None:
        """The system behind the channel is reset, or has gone: as `reset`."""
        self.reset()

    def close(self) -> None:
        """Detach the media, without waiting; what was written goes to stable storage meanwhile."""
        for medium in self.media:
            medium.close()

    def exchange(self, other: Self) -> None:
        """Let the medium go, and take that of *other*, which is done with then.

        *other* is of the same type and attached with the same options, to another file or to none.
        Only if it `loads`, and while no command is in progress.
        """
        self.close()
        self.name, self.spec = other.name, other.spec
        self.media, other.media = other.media, ()

    async def service(self) -> None:
        """What the device does by itself while attached (an operator's console); default none."""

    @command(c.CCW_CMD_NOOP)
    def no_operation(self, io: DataTransfer) -> int | None:
        """No-Operation: an immediate command."""
        return None

    @command(c.CCW_CMD_BASIC_SENSE)
    def basic_sense(self, io: DataTransfer) -> int | None:
        """Sense: give the sense data and reset it."""
        io.give(self.take_sense())
        return None

    @command(c.CCW_CMD_SENSE_ID)
    def give_sense_id(self, io: DataTransfer) -> int | None:
        """Sense ID: what the control unit and the device are."""
        if not self.sense_id:
            raise self.reject(c.CCW_CMD_SENSE_ID)
        io.give(self.sense_id)
        return None
