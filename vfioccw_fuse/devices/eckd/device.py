"""The device type 3390: its image, its control unit, all its commands together."""

from __future__ import annotations

from typing import ClassVar, Final

from ...errors import UserError
from ..options import READONLY, SHARED, SYNC, DeviceSpec, Option, Options, Owner
from . import codes
from .control import Control
from .control_unit import CONTROL_UNITS, DEFAULT, ControlUnit
from .image import CkdImage
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
    options = Options(READONLY, SHARED, SYNC, CU, SERIAL)
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
    def open(cls, spec: DeviceSpec) -> Eckd3390:
        """Attach the image that *spec* names; UserError says what is wrong."""
        readonly, shared = spec.get(READONLY, False), spec.get(SHARED, False)
        image = CkdImage.open(spec.path, readonly, shared)
        number = int(spec.schid.rpartition(".")[2], 16)
        control_unit = spec.get(CU, CONTROL_UNITS[DEFAULT])
        device = cls(image, control_unit, spec.get(SERIAL, None), number)
        if shared and not readonly:
            device.share(image.media[0])
        return device
