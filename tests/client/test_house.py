"""What the client stands on."""

import re
import subprocess
import sys

OWN = re.compile(r"vfioccw_fuse(\.(regions|client)(\.\w+)?|\.compiled|\.errors|\.ofd)?")
DEVICES = re.compile(r"vfioccw_fuse\.devices(\.(catalog|dasd|\w+\.codes))?")
"""Where the words are."""


def test_it_loads_regions_codes_of_devices_and_nothing_else_of_ours():
    code = (
        "import sys, vfioccw_fuse.client\n"
        "from vfioccw_fuse.devices.catalog import DECODED, TYPES, words_of\n"
        "for name in (*TYPES, *DECODED): words_of(name)\n"
        "print(*sorted(m for m in sys.modules if m.split('.')[0] == 'vfioccw_fuse'))"
    )
    run = [sys.executable, "-c", code]
    ours = subprocess.run(run, capture_output=True, check=True, text=True).stdout.split()
    assert {"vfioccw_fuse.client", "vfioccw_fuse.devices.eckd.codes"} <= {*ours}
    families = {name.removesuffix(".codes") for name in ours if name.endswith(".codes")}
    others = {name for name in ours if not OWN.fullmatch(name) and not DEVICES.fullmatch(name)}
    assert others <= families
