"""A program that changes while it runs: ``python -m evidence.changing MNT/0.0.0313``.

Its Read puts a block over the CCW that follows; that CCW is valid only then. With prefetch nobody
would see the change, so the ORB does not allow it. The same loader begins every IPL.
"""

import sys

from vfioccw_fuse.client import FbaDisk, Program, Subchannel
from vfioccw_fuse.client.subchannel import ended_well
from vfioccw_fuse.regions import codec
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import Ccw1

_DEFINE_EXTENT = bytes.fromhex("40000200000000000000000000000000")
_LOCATE = bytes.fromhex("0600000100000000")


def main() -> int:
    """Put a CCW into block 0 of the disk, and run the program that fetches it from there."""
    nop = codec.CCW1.pack(Ccw1(0x03, c.CCW_FLAG_SLI, 1, 0))
    with (
        Subchannel(sys.argv[1]) as sub,
        FbaDisk(sub) as disk,
        Program(sub.storage, prefetch=False) as program,
    ):
        disk.write_blocks(0, nop.ljust(512, b"\0"))
        chain = c.CCW_FLAG_CC
        program.ccw(0x63, chain, data=_DEFINE_EXTENT)
        program.ccw(0x43, chain, data=_LOCATE)
        read = program.ccw(0x42, chain | c.CCW_FLAG_SLI, 8, 0)
        invalid = program.ccw(0x00, 0, 1, 0)
        program.lay_out()
        read.target = invalid.address
        program.lay_out()
        irb = sub.execute(program)
    print(f"changed while it ran: {'channel end, device end' if ended_well(irb) else irb}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
