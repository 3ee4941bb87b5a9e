"""The device type 3390: its image, its control unit, all its commands together."""

from __future__ import annotations

from typing import ClassVar

from ...errors import UserError
from ..options import DeviceSpec
from .control import Control
from .control_unit import CONTROL_UNITS, DEFAULT, ControlUnit
from .image import CkdImage
from .read import Read
from .search import Search
from .subsystem import Subsystem
from .volume import check_serial
from .write import Write


class Eckd3390(Control, Search, Read, Write, Subsystem):
    """A 3390 disk on a CKD image, behind a 3990 or 2107.

    Options: `cu` (3990-6, 3990-3, 3990-2 or 2107), *serial* (12 letters or digits, instead of the
    image's).
    """

    type_name: ClassVar[str] = "3390"
    option_words: ClassVar[frozenset[str]] = frozenset({"cu", "serial"})

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
        name = spec.options.get("cu", DEFAULT)
        if name not in CONTROL_UNITS:
            raise UserError(f"cu={name}: unknown; one of {', '.join(CONTROL_UNITS)}")
        serial = spec.options.get("serial")
        if serial is not None:
            serial = check_serial(serial)
        image = CkdImage.open(spec.path, spec.readonly)
        number = int(spec.schid.rpartition(".")[2], 16)
        return cls(image, CONTROL_UNITS[name], serial, number)
