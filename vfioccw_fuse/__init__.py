"""A vfio-ccw subchannel without a mainframe: s390 I/O subchannels as files of a FUSE mount.

The packages, from the ground up; imports run only downwards in this list:

`regions`   layouts, constants and words of all that crosses the mount (a package of its own)
`memory`    guest storage: mapped ranges over files
`devices`   disks and other units that execute CCW commands on their medium
`css`       the channel subsystem: channel programs, subchannels, I/O instructions
`vfio`      the vfio-ccw driver: finite state machine, regions, interruptions
`fuse`      how all that looks through FUSE
`cli`       the command `vfioccw`
`docs`      the manual that it shows
`compiled`  which of all these run as machine code, where that was made
`client`    the other side: drives a subchannel through the mount, on `regions` alone
`testing`   a pytest plugin, which uses the command, the client and guests
"""

from . import compiled

__version__ = "0.2.0"
"""The version of the product, as `vfioccw --version` prints it (PEP 440)."""

compiled.install()
