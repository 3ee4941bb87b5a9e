"""Tape drives 3420, 3480 and 3490 on files in the AWS format.

`aws` is the medium, `drive` what all drives do, `sense` what goes wrong and how each family says
so, `paths` path groups; `t3420`, `t3480` and `t3490` are the drives.
"""

from .aws import AwsTape, MediumError, Survey, Trouble
from .drive import TapeDrive
from .t3420 import Tape3420
from .t3480 import Tape3480
from .t3490 import Tape3490

__all__ = [
    "AwsTape",
    "MediumError",
    "Survey",
    "Tape3420",
    "Tape3480",
    "Tape3490",
    "TapeDrive",
    "Trouble",
]
