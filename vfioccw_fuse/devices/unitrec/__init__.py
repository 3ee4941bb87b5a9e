"""Unit record: the card reader 3505, the card punch 3525 and the printer 1403, on plain files.

`reader`, `punch` and `printer` are the devices, `output` the file that the last two write.
"""

from .printer import Printer1403
from .punch import Punch3525
from .reader import Reader3505

__all__ = ["Printer1403", "Punch3525", "Reader3505"]
