"""Whether `regions/README.md` names everything: ``python -m evidence.documented MNT/0.0.0313``."""

import errno
import os
import re
import sys

from lab.mounts import PROJECT
from vfioccw_fuse.regions import codec
from vfioccw_fuse.regions import constants as c

_CODECS = (
    codec.ORB,
    codec.SCSW,
    codec.PMCW,
    codec.CMD_REGION,
    codec.CRW_REGION,
    codec.STATUS_REGION,
    codec.PROGRAM_REGION_HEADER,
    codec.MEASUREMENT_REGION,
    codec.REGION_INFO,
    codec.REGION_INFO_CAP_TYPE,
    codec.DEVICE_INFO,
    codec.IRQ_INFO,
)
_ERRNOS = ("EACCES", "EAGAIN", "EBUSY", "EFAULT", "EINVAL", "EIO", "ENODEV", "EOPNOTSUPP")
_NOT_REGIONS = {"control", "debug", "device", "memory", "reset", "state", "trace"}


def main() -> int:
    """Print what is named, and give 1 if something is not."""
    text = (PROJECT / "regions" / "README.md").read_text()
    words = set(re.findall(r"[A-Za-z_0-9]+", text))
    # Words alone: pmcw.lpm names lpm. Whether what is said of them is right, no script can tell.
    files = set(os.listdir(sys.argv[1]))
    fields = {name for one in _CODECS for name in one.fields}
    commands = {name for name in dir(c) if name.startswith("VFIO_CCW_ASYNC_CMD_")}
    commands |= {errno.errorcode[getattr(errno, n)].replace("ENOTSUP", n) for n in _ERRNOS}
    missing = (files - _NOT_REGIONS | fields | commands) - words
    print(f"regions, interrupts and infos of a subchannel: {len(files - _NOT_REGIONS)} looked for")
    print(f"fields of regions and infos: {len(fields)} looked for")
    print(f"commands and errnos: {len(commands)} looked for")
    print(f"not named: {len(missing)}")
    for name in sorted(missing):
        print(f"NOT NAMED: {name}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
