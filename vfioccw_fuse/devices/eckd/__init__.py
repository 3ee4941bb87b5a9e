"""ECKD disks: a 3390 behind a 3990 or 2107 control unit, on CKD images of the Hercules format.

`Eckd3390` is the device; `create`, `info` and `check` are for the images themselves. From the
bottom up: `geometry` and `track` (what a track is), `image` (tracks in files), `volume` and
`labels` (whole images), `sense` and `control_unit` (what the device says of itself), `orientation`
(where the heads are and what the program may do), then the commands: `locate`, `control`,
`search`, `read`, `write`, `subsystem`; `device` puts them together.
"""

from .device import Eckd3390
from .image import CkdImage
from .volume import FORMATS, Format, ImageInfo, Problem, Severity, check, create, info

__all__ = [
    "FORMATS",
    "CkdImage",
    "Eckd3390",
    "Format",
    "ImageInfo",
    "Problem",
    "Severity",
    "check",
    "create",
    "info",
]
