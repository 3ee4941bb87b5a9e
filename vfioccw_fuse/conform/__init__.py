"""Linux's own vfio_ccw as a judge of a mount: the same requests to both.

`judge` asks both ends and says what comes of it. `script` has the requests, `chance` makes others
from a seed, of what `requests` has, `client.c` asks them at either end, `kernel` brings the driver,
`mounts` a mount, `ends` runs both, `answers` keeps what they say, `compare` says what differs,
`changes` what did so between two Linuxes, and `kit` is for who has a mainframe. The cases, what
Linux answered, the list of what may differ and that of what changed in Linux are data beside this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..errors import UserError

HERE: Final = Path(__file__).resolve().parent
"""Where the cases, recorded answers and the list of differences are."""


class ConformError(UserError):
    """What was wanted of a judge did not work; one line for people."""


class NotHereError(ConformError):
    """This system has not what a driver is made of or with."""
