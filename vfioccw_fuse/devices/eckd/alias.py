"""An alias: a subchannel whose programs run on the volume of the base that their Prefix names.

Identity, path groups and sense data are its own; what is on the volume, and what may be done there
at the same time, is its base's. Commands that need a volume are rejected until there is one
(message E), and so is a base that is not in its logical control unit (message F, reason 67). Linux
tries both again on the base (`dasd_3990_erp.c`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from ...errors import UserError
from ...regions import constants as c
from ..base import DataTransfer, Device
from . import codes
from .codes import Message
from .control import Control
from .pav import LogicalControlUnit
from .read import Read
from .search import Search
from .subsystem import Subsystem
from .write import Write

NO_IMAGE: Final = "-"
"""What is written where other devices have their image."""

_WITHOUT_A_BASE: Final = frozenset(
    {
        *(codes.NO_OPERATION, codes.SENSE, c.CCW_CMD_SENSE_ID, codes.SENSE_PATH_GROUP_ID),
        *(codes.SET_PATH_GROUP_ID, codes.SUSPEND_MULTIPATH_RECONNECTION),
        *(codes.READ_DEVICE_CHARACTERISTICS, codes.READ_CONFIGURATION_DATA),
        *(codes.PERFORM_SUBSYSTEM_FUNCTION, codes.READ_SUBSYSTEM_DATA, codes.READ_MESSAGE_ID),
        *(codes.SENSE_SUBSYSTEM_STATUS, codes.SET_SUBSYSTEM_MODE, codes.READ_BUFFERED_LOG),
        codes.PREFIX,
    }
)
"""What an alias does by itself."""


class AliasOf(Device):
    """An alias that is not beside its base yet."""

    needs_another = True

    def __init__(self, base: str, image: str, schid: str) -> None:
        """*base*: its base's subchannel id; *image*: what was given as one; *schid*: its own id."""
        super().__init__(f"3390 alias of {base}")
        self._base = base
        self._image = image
        self._schid = schid

    def beside(self, others: Mapping[str, Device]) -> Device:
        """The alias itself, with the volume of its base, which must be there."""
        base = others.get(self._base)
        said = f"alias-of={self._base}"
        if isinstance(base, Alias):
            raise UserError(f"{said}: that is an alias itself; name its base")
        if base is None:
            raise UserError(f"{said}: there is no such base; add it first, with pav=base")
        if not isinstance(base, Subsystem) or base.lcu is None:
            raise UserError(f"{said}: not a base; a 3390 is one with cu=2107,pav=base")
        if self._image != NO_IMAGE and (base.spec is None or self._image != base.spec.path):
            raise UserError(f"{said}: an alias has no image; write {NO_IMAGE} in its place")
        return Alias(base, base.lcu, self.name, self._schid)


class Alias(Control, Search, Read, Write, Subsystem):
    """An alias; between programs it shows the volume of the base that it was attached to."""

    type_name: ClassVar[str] = "3390"
    words = codes.WORDS

    def __init__(
        self, base: Subsystem, lcu: LogicalControlUnit, name: str, schid: str
    ) -> None:
        """*base* is in *lcu*, and so is the alias then; *schid* is its own subchannel id.

        The last two digits are its unit address; UserError if that is taken.
        """
        self._home = base
        self._base: Subsystem | None = None
        device = lcu.subsystem << 8 | int(schid[-2:], 16)
        super().__init__(name, base.image, base.control_unit, base.serial, device)
        self.schid = schid
        """Its subchannel id."""
        self.spec = base.spec
        lcu.enter_alias(self)

    def begin(self) -> None:
        """A channel program starts: it has no base yet."""
        self._go_to(self._home)
        self._base = None
        super().begin()

    def _go_to(self, base: Subsystem) -> None:
        self.image = base.image
        self.media = base.media
        self.secures = base.secures
        self.in_use = base.in_use

    def execute(self, code: int, io: DataTransfer) -> int:
        """Do one command; one that needs a volume is rejected before there is one."""
        if self._base is None and code not in _WITHOUT_A_BASE:
            return self.end_with(self.rejected(Message.SECONDARY_ADDRESS))
        return super().execute(code, io)

    def go_to_base(self, validity: int, unit: int, subsystem: int) -> None:
        """The program is for the volume of the base that the Prefix names."""
        if not validity & codes.HYPER_PAV:
            raise self.rejected(Message.SECONDARY_ADDRESS)
        assert self.lcu is not None
        base = self.lcu.base(unit, subsystem)
        if base is None or self._base not in (None, base):
            raise self.not_of_this_base()
        self._base = base
        if base is not self._home:
            self._go_to(base)
            self.last_track = base.image.tracks - 1

    def close(self) -> None:
        """Leave the control unit; the image is its base's."""
        if self.lcu is not None:
            self.lcu.leave(self)
