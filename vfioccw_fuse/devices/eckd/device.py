"""The device type 3390: its image, its control unit, all its commands together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from ...errors import UserError
from ..base import Device
from ..options import READONLY, SHARED, SYNC, DeviceSpec, Option, Options, Owner
from . import codes
from .alias import AliasOf
from .control import Control
from .control_unit import CONTROL_UNITS, DEFAULT, ControlUnit
from .extents import ExtentsInUse
from .image import CkdImage
from .pav import ALIAS_OF, PAV, LogicalControlUnit
from .read import Read
from .search import Search
from .subsystem import Subsystem
from .volume import SERIAL
from .write import Write


def _parse_control_unit(text: str) -> ControlUnit:
    if text not in CONTROL_UNITS:
        raise UserError(f"unknown; one of {', '.join(CONTROL_UNITS)}")
    return CONTROL_UNITS[text]


CU: Final = Option(
    word="cu",
    owner=Owner.DEVICE,
    metavar="MODEL",
    help=f"control unit: {', '.join(CONTROL_UNITS)}; {DEFAULT} unless said",
    parse=_parse_control_unit,
)


class Eckd3390(Control, Search, Read, Write, Subsystem):
    """A 3390 disk on a CKD image, behind a 3990 or 2107."""

    type_name: ClassVar[str] = "3390"
    description = "ECKD disk"
    takes = "CKD image, as the Hercules tools read and write it"
    options = Options(READONLY, SHARED, SYNC, CU, SERIAL, PAV, ALIAS_OF)
    words = codes.WORDS

    def __init__(
        self,
        image: CkdImage,
        control_unit: ControlUnit = CONTROL_UNITS[DEFAULT],
        serial: str | None = None,
        device: int = 0,
    ) -> None:
        """*device*: device number of 16 bits, for the configuration data."""
        super().__init__(f"3390 {image.path}", image, control_unit, serial or image.serial, device)

    @classmethod
    def open(cls, spec: DeviceSpec) -> Device:
        """Attach the image that *spec* names, or be an alias; UserError says what is wrong."""
        if ALIAS_OF.word in spec.options:
            theirs = sorted((cls.options.keys() & spec.options.keys()) - {ALIAS_OF.word})
            if theirs:
                raise UserError(
                    f"{spec.schid}: {theirs[0]}: an alias has what its base has; leave it out"
                )
            return AliasOf(spec.options[ALIAS_OF.word], spec.path, spec.schid)
        control_unit = spec.get(CU, CONTROL_UNITS[DEFAULT])
        is_base = spec.get(PAV, False)
        if is_base and not control_unit.prefix:
            raise UserError(
                f"{spec.schid}: pav=base: behind a {control_unit.name} are no aliases; say cu=2107"
            )
        readonly, shared = spec.get(READONLY, False), spec.get(SHARED, False)
        if is_base and shared:
            raise UserError(
                f"{spec.schid}: pav=base: a shared volume is reserved as a whole, which aliases do "
                "not see; leave out shared"
            )
        image = CkdImage.open(spec.path, readonly, shared)
        number = int(spec.schid.rpartition(".")[2], 16)
        drive = cls(image, control_unit, spec.get(SERIAL, None), number)
        if is_base:
            drive.become_base()
        elif shared and not readonly:
            drive.share(image.media[0])
        return drive

    # ------------------------------------------------------------------ the base of aliases

    def become_base(self) -> None:
        """Let aliases serve the volume. It is in a logical control unit of its own, at first."""
        self.lcu = LogicalControlUnit(self.device >> 8)
        self.in_use = ExtentsInUse()

    def beside(self, others: Mapping[str, Device]) -> Device:
        """A base enters the logical control unit that has its serial number and subsystem id."""
        if self.lcu is not None:
            for other in others.values():
                if (
                    isinstance(other, Subsystem)
                    and other.lcu is not None
                    and (other.serial, other.lcu.subsystem) == (self.serial, self.lcu.subsystem)
                ):
                    self.lcu = other.lcu
                    break
            self.lcu.enter_base(self)
        return self

    def go_to_base(self, validity: int, unit: int, subsystem: int) -> None:
        """A base is where it is; a Prefix for another one came to the wrong device."""
        if (
            validity & codes.VERIFY_BASE
            and self.lcu is not None
            and self.lcu.base(unit, subsystem) is not self
        ):
            raise self.not_of_this_base()

    def withdraw(self) -> None:
        """A base stays as long as there are aliases that may work on its volume."""
        if self.lcu is not None and self.lcu.aliases:
            named = ", ".join(alias.schid for alias in self.lcu.aliases.values())
            raise UserError(f"aliases serve it; remove them first: {named}")

    def close(self) -> None:
        """Give the image back."""
        if self.lcu is not None:
            self.lcu.leave(self)
        super().close()
