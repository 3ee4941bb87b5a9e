"""Linux's own vfio_ccw as a judge of `--interface async`: the same requests to both.

`script` has the requests, `chance` makes others from a seed, `client.c` asks them at either end,
`kernel` brings the driver, `ends` runs both, `answers` keeps what they say, `compare` says what
differs, and `changes` what did so between two Linuxes. The cases, what Linux answered and the list
of what may differ are data in `tests/linux`. A guest is `guest`'s, a mount is `lab`'s.
"""

from __future__ import annotations


class JudgeError(Exception):
    """What was wanted of a judge did not work; one line for people."""


class NotHereError(JudgeError):
    """This system has not what a driver is made of or with."""
