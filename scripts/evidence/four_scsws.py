"""The four SCSWs of the thread, during a start that hangs and is halted.

``python -m evidence.four_scsws MNT/0.0.0313`` on the interface `scsw`, where the client writes its
whole SCSW into the region ("way 1"):

- scsw(g), the guest's: it learns of the others only by an instruction of its own, STSCH or TSCH;
- scsw(q), the client's (QEMU's): kept around every request;
- scsw(r), the region's: the request that was written last, which no status ever changes;
- scsw(h), the hardware's: what the subchannel holds now, as `state` shows it. The driver does the
  TSCH at the interruption, so it is idle again before the client has read anything.
"""

import sys
import time
from pathlib import Path

from vfioccw_fuse.client import Program, Subchannel
from vfioccw_fuse.regions import codec, descriptions
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.regions.layouts import Scsw
from vfioccw_fuse.regions.state import parse_state


class Walk:
    """One client on one subchannel, and the SCSW that its guest saw last."""

    def __init__(self, path: Path, sub: Subchannel) -> None:
        """``sub`` is the open subchannel at ``path``."""
        self._path = path
        self._sub = sub
        self._guest = Scsw()

    def guest_stores(self) -> None:
        """The guest's STSCH or TSCH: the client answers it from scsw(q)."""
        self._guest = self._sub.scsw

    def show(self, what: str) -> None:
        """Print all four."""
        # No more than that: reading byte 24, the first of the IRB, takes the interruption.
        with (self._path / "io_region").open("rb", buffering=0) as file:
            region = codec.SCSW.parse(file.read(24), 12)
        hardware = parse_state((self._path / "state").read_text())["scsw"]
        rows = {
            "g": self._guest,
            "q": self._sub.scsw,
            "r": region,
            "h": codec.SCSW.parse(bytes.fromhex(hardware)),
        }
        print(what)
        for name, scsw in rows.items():
            print(f"  scsw({name})  {scsw.ctrl:04x}  {descriptions.line_scsw(scsw)}")


def main() -> None:
    """Start, let the device begin, halt, take the interruption."""
    path = Path(sys.argv[1])
    (path / "control").write_text("fault=hang")
    with Subchannel(path) as sub, Program(sub.storage) as program:
        program.ccw(0x03, c.CCW_FLAG_SLI, 1)
        program.lay_out()
        walk = Walk(path, sub)
        walk.show("before: nobody has asked for anything")
        assert sub.start(program.orb()) == 0
        while "device active" not in (path / "state").read_text():
            time.sleep(0.005)
        walk.show("the guest's ssch got condition code 0: the hardware has moved on already")
        walk.guest_stores()
        walk.show("the guest's stsch is answered from scsw(q), not by the hardware")
        assert sub.halt() == 0
        assert sub.wait(60)
        walk.show("the guest's hsch got condition code 0; the hardware has ended both already")
        sub.result()
        walk.guest_stores()
        walk.show("the interruption: the IRB was read, the guest's tsch has seen it, all is idle")
    (path / "control").write_text("fault=none")


if __name__ == "__main__":
    main()
